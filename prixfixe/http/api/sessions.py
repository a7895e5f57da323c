"""The path of open SMTP sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prixfixe.http.pieces import fitting, listed
from prixfixe.http.responses import only

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from prixfixe.http.api.made import MadeAnswers
    from prixfixe.telemetry.sessions import OpenSession

__all__ = ["SessionPaths"]

MAX_RECIPIENTS = 100  # of one session that are told


class SessionPaths:
    """The path `/api/v1/sessions`."""

    def __init__(self, sessions: Callable[[], list[OpenSession]], made: MadeAnswers) -> None:
        self._sessions = sessions
        self._made = made

    async def sessions(self, request: Request) -> Response:
        """Return the sessions that are open now, as many as fit."""
        only(request)
        seen = self._sessions()
        return await self._made.json(
            request, lambda: listed("sessions", fitting(map(_record, seen)))
        )


def _record(one: OpenSession) -> dict[str, Any]:
    return {
        "Session": one.session,
        "Peer": one.peer,
        "Helo": one.helo,
        "From": one.sender,
        "To": one.recipients[:MAX_RECIPIENTS],
    }
