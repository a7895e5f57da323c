"""The path of open SMTP sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prixfixe.http.responses import Json, only

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from prixfixe.telemetry.sessions import OpenSession

__all__ = ["SessionPaths"]

MAX_RECIPIENTS = 100  # of one session that are told


class SessionPaths:
    """The path `/api/v1/sessions`."""

    def __init__(self, sessions: Callable[[], list[OpenSession]]) -> None:
        self._sessions = sessions

    async def sessions(self, request: Request) -> Response:
        """Return the sessions that are open now."""
        only(request)
        records = [
            {
                "Session": one.session,
                "Peer": one.peer,
                "Helo": one.helo,
                "From": one.sender,
                "To": one.recipients[:MAX_RECIPIENTS],
            }
            for one in self._sessions()
        ]
        return Json({"sessions": records})
