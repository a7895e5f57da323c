"""Contents of large answers, shared by all clients that read the same one.

The contents take at most one item more than `total` bytes. A request that waits longer than
`WAIT_SECONDS` for room is answered 503, and clients that read nothing are disconnected.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from starlette.exceptions import HTTPException

from prixfixe.http.room import Freed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

    from prixfixe.http.connection import HttpConnection

__all__ = ["TOTAL_OCTETS", "Loan", "Shelf"]

TOTAL_OCTETS: Final = 16 * 1024 * 1024
WAIT_SECONDS: Final = 10.0
STALL_SECONDS: Final = 5.0  # without taking `wire.HIGH_OCTETS`, while others wait
LOOK_SECONDS: Final = 0.5

T = TypeVar("T")


class _Copy(Generic[T]):
    """One thing, its weight in bytes, and who has it."""

    def __init__(self) -> None:
        self.made: asyncio.Task[T]
        self.octets = 0
        self.readers: list[HttpConnection] = []


class Loan(Generic[T]):
    """A copy as one reader has it."""

    def __init__(self, value: T, give_back: Callable[[], None]) -> None:
        self.value = value
        self._give_back: Callable[[], None] | None = give_back

    def give_back(self) -> None:
        """Let the copy go. Twice is harmless."""
        back, self._give_back = self._give_back, None
        if back is not None:
            back()


class Shelf:
    """The copies that are on loan or being made."""

    def __init__(self, total: int = TOTAL_OCTETS) -> None:
        self._total = total
        self._known: dict[Hashable, _Copy[Any]] = {}  # for those who come now
        self._copies: set[_Copy[Any]] = set()
        self._order = asyncio.Lock()
        self._freed = Freed()

    @property
    def octets(self) -> int:
        """How many bytes the copies take."""
        return sum(copy.octets for copy in self._copies)

    async def lend(
        self,
        key: Hashable,
        reader: HttpConnection,
        make: Callable[[], Awaitable[T]],
        weigh: Callable[[T], int],
    ) -> Loan[T]:
        """Return what `make` makes, or made for another who has it; None as key is nobody's."""
        copy = self._known.get(key) if key is not None else None
        if copy is None:
            copy = self._begin(key, make, weigh)
        copy.readers.append(reader)
        try:
            value = await asyncio.shield(copy.made)
        except BaseException:
            self._leave(key, copy, reader)
            raise
        return Loan(value, lambda: self._leave(key, copy, reader))

    def forget(self) -> None:
        """Make everything anew for those who come from now on: something was deleted."""
        self._known.clear()

    def _begin(
        self, key: Hashable, make: Callable[[], Awaitable[T]], weigh: Callable[[T], int]
    ) -> _Copy[T]:
        copy: _Copy[T] = _Copy()
        copy.made = asyncio.create_task(self._make(copy, make, weigh))
        self._copies.add(copy)
        if key is not None:
            self._known[key] = copy
        return copy

    def _leave(self, key: Hashable, copy: _Copy[Any], reader: HttpConnection) -> None:
        copy.readers.remove(reader)
        if copy.readers:
            return
        copy.made.cancel()
        self._copies.discard(copy)
        if self._known.get(key) is copy:
            del self._known[key]
        self._freed.tell()

    async def _make(
        self, copy: _Copy[T], make: Callable[[], Awaitable[T]], weigh: Callable[[T], int]
    ) -> T:
        await self._take_place()
        try:
            value = await make()
            copy.octets = weigh(value)
        finally:
            self._order.release()
        return value

    async def _take_place(self) -> None:
        """Wait until it is this one's turn to be made, and there is room."""
        until = asyncio.get_running_loop().time() + WAIT_SECONDS
        while not await self._is_next():
            self._refuse_late(until)
        try:
            while self.octets >= self._total:
                self._cut_stalled()
                self._refuse_late(until)
                await self._freed.wait(LOOK_SECONDS)
        except BaseException:
            self._order.release()
            raise

    async def _is_next(self) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WAIT_SECONDS):
                return await self._order.acquire()
        return False

    def _refuse_late(self, until: float) -> None:
        """Answer 503 if too much is on loan for too long; who is only slow to be made waits."""
        if self.octets >= self._total and asyncio.get_running_loop().time() >= until:
            headers = {"Retry-After": str(int(WAIT_SECONDS))}
            raise HTTPException(503, "too many large answers are under way", headers)

    def _cut_stalled(self) -> None:
        """End the readers of what no reader takes."""
        for copy in list(self._copies):
            if copy.octets and all(one.stalled_seconds >= STALL_SECONDS for one in copy.readers):
                for one in list(copy.readers):
                    one.cut("replaced")
