"""Bodies of requests, bounded one by one and in sum while their requests are answered.

A body of more than `FREE_OCTETS` waits for room. A request that waits longer than `WAIT_SECONDS`
is answered 503, and clients that do not send what they announced are disconnected meanwhile.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from starlette.exceptions import HTTPException

from prixfixe.http.room import Freed

if TYPE_CHECKING:
    from starlette.requests import Request

    from prixfixe.http.connection import HttpConnection

__all__ = ["FREE_OCTETS", "MAX_OCTETS", "TOTAL_OCTETS", "Bodies"]

MAX_OCTETS: Final = 1024 * 1024
FREE_OCTETS: Final = 4096
# What is made of a body while it is answered can take ten times as much.
TOTAL_OCTETS: Final = 4 * MAX_OCTETS
WAIT_SECONDS: Final = 10.0
STALL_SECONDS: Final = 5.0  # for a body to come, while others wait
LOOK_SECONDS: Final = 0.5


class _Place:
    """The room that a body has, in bytes, and since when; `is_whole` once it has come."""

    def __init__(self, octets: int, since: float) -> None:
        self.octets = octets
        self.since = since
        self.is_whole = False


class Bodies:
    """Who has room for a body."""

    def __init__(self, total: int = TOTAL_OCTETS) -> None:
        self._total = total
        self._places: dict[HttpConnection, _Place] = {}
        self._order = asyncio.Lock()
        self._freed = Freed()

    @property
    def octets(self) -> int:
        """How many bytes the bodies may take."""
        return sum(one.octets for one in self._places.values())

    async def read(self, request: Request) -> bytes:
        """Return the body, or answer 413 or 503; what it takes is held until `release`."""
        connection: HttpConnection = request.scope["state"]["connection"]
        announced = request.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > FREE_OCTETS:
            await self._take(connection, int(announced))
        pieces, octets = [], 0
        async for piece in request.stream():
            octets += len(piece)
            if octets > FREE_OCTETS and connection not in self._places:
                await self._take(connection, MAX_OCTETS)
            if octets > MAX_OCTETS:
                raise _too_large()
            pieces.append(piece)
        if connection in self._places:
            self._places[connection].is_whole = True
        return b"".join(pieces)

    def release(self, connection: HttpConnection) -> None:
        """Let the room of a request go; harmless if it had none."""
        if self._places.pop(connection, None) is not None:
            self._freed.tell()

    async def _take(self, connection: HttpConnection, octets: int) -> None:
        """Wait for room, in the order of coming."""
        if octets > MAX_OCTETS:
            raise _too_large()
        try:
            async with asyncio.timeout(WAIT_SECONDS), self._order:
                while self.octets + octets > self._total:
                    self._cut_stalled()
                    await self._freed.wait(LOOK_SECONDS)
                now = asyncio.get_running_loop().time()
                self._places[connection] = _Place(octets, now)
        except TimeoutError:
            headers = {"Retry-After": str(int(WAIT_SECONDS))}
            raise HTTPException(503, "too many large requests are under way", headers) from None

    def _cut_stalled(self) -> None:
        late = asyncio.get_running_loop().time() - STALL_SECONDS
        for connection, place in list(self._places.items()):
            if not place.is_whole and place.since < late:
                connection.cut("replaced")


def _too_large() -> HTTPException:
    return HTTPException(413, f"expected at most {MAX_OCTETS} octets")
