"""Answers that take time to make, such as a look through all attempts: made in a thread."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from prixfixe.http.pieces import cut
from prixfixe.http.responses import InPieces, Json
from prixfixe.http.shelf import Shelf
from prixfixe.http.uvicorn_connection import connection_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.responses import Response

__all__ = ["MadeAnswers"]

TOTAL_OCTETS: Final = 4 * 1024 * 1024  # of answers under way, and one more at most


class MadeAnswers:
    """Answers about faults, sessions and waits; made one at a time, and bounded together."""

    def __init__(self) -> None:
        self._shelf = Shelf(TOTAL_OCTETS)

    async def json(
        self, request: Request, make: Callable[[], bytes], status: int = 200
    ) -> Response:
        """Answer with the JSON that `make` returns; it runs in a thread."""

        async def made() -> bytes:
            return await asyncio.get_running_loop().run_in_executor(None, make)

        loan = await self._shelf.lend(None, connection_of(request.scope), made, len)
        answer = InPieces(cut([loan.value]), loan, Json.media_type, len(loan.value))
        answer.status_code = status
        return answer
