"""Answers that take time to make, such as a look through all attempts: made in a thread."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from starlette.responses import Response

from prixfixe.http.connection import connection_of
from prixfixe.http.pieces import PIECE_OCTETS, cut
from prixfixe.http.responses import InPieces, Json
from prixfixe.http.shelf import Shelf

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

__all__ = ["MadeAnswers"]

TOTAL_OCTETS: Final = 4 * 1024 * 1024  # of large answers under way, and one more at most
SMALL_OCTETS: Final = 2 * PIECE_OCTETS  # as much output as every connection may hold


class MadeAnswers:
    """Answers about faults, sessions and waits; made one at a time, and bounded together.

    A small answer waits for no reader of a large one. A large one is made anew when there is room.
    """

    def __init__(self) -> None:
        self._shelf = Shelf(TOTAL_OCTETS)
        self._order = asyncio.Lock()

    async def json(
        self, request: Request, make: Callable[[], bytes], status: int = 200
    ) -> Response:
        """Answer with the JSON that `make` returns; it runs in a thread."""

        async def made() -> bytes:
            async with self._order:
                return await asyncio.get_running_loop().run_in_executor(None, make)

        octets = await made()
        if len(octets) <= SMALL_OCTETS:
            return Response(octets, status, media_type=Json.media_type)
        del octets
        loan = await self._shelf.lend(None, connection_of(request.scope), made, len)
        answer = InPieces(cut([loan.value]), loan, Json.media_type, len(loan.value))
        answer.status_code = status
        return answer
