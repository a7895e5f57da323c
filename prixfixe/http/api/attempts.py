"""The path of attempts: what was refused or broken off, and what was said in that session.

Looking through all attempts takes time, so it is done in a thread.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from prixfixe.http.api.mailpit import shown_time
from prixfixe.http.api.wait_condition import time_of
from prixfixe.http.pieces import fitting, listed
from prixfixe.http.responses import only, whole
from prixfixe.mail.folding import fold
from prixfixe.telemetry.attempts import MAX_ATTEMPTS, newest_first

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from prixfixe.http.api.made import MadeAnswers
    from prixfixe.http.api.wait_condition import WaitCondition
    from prixfixe.http.context import HttpContext
    from prixfixe.telemetry.attempts import Attempt

__all__ = ["AttemptPaths", "attempt_record", "refused_instead"]

MAX_TOLD = 10  # attempts beside the end of a wait


class AttemptPaths:
    """The path `/api/v1/attempts`."""

    def __init__(self, context: HttpContext, made: MadeAnswers) -> None:
        self._context = context
        self._made = made

    async def attempts(self, request: Request) -> Response:
        """Return the newest attempts that match and fit, oldest first."""
        only(request, "to", "from", "since", "limit")
        given = request.query_params
        since = time_of(given["since"]) if given.get("since") else None
        limit = whole(request, "limit", MAX_ATTEMPTS, MAX_ATTEMPTS)
        recent = self._context.attempts.recent()

        def page() -> bytes:
            found = newest_first(recent, to=given.get("to"), sender=given.get("from"), since=since)
            return listed("attempts", reversed(fitting(map(attempt_record, islice(found, limit)))))

        return await self._made.json(request, page)


def refused_instead(attempts: Sequence[Attempt], condition: WaitCondition) -> list[dict[str, Any]]:
    """Return the last attempts that a wait could have meant, oldest first.

    Only whom a wait asks for can be compared: an attempt has no subject and no text.
    """
    since = newest_first(attempts, since=condition.since)
    meant = islice((one for one in since if _is_meant(one, condition)), MAX_TOLD)
    return [attempt_record(one) for one in reversed([*meant])]


def _is_meant(attempt: Attempt, condition: WaitCondition) -> bool:
    people = {
        "to": [fold(one) for one in attempt.tried.recipients],
        "from": [fold(attempt.tried.sender)],
    }
    people["addressed"] = [*people["to"], *people["from"]]
    exact = all(
        fold(value) in people[name] for name, value in condition.exact if name in ("to", "from")
    )
    return exact and all(
        any(term.text in one for one in people[term.field]) != term.is_negated
        for term in condition.query.terms
        if term.field in people
    )


def attempt_record(attempt: Attempt) -> dict[str, Any]:
    """Return an attempt for JSON."""
    tried, transcript = attempt.tried, attempt.transcript
    return {
        "ID": attempt.id,
        "Created": shown_time(attempt.at),
        "Session": attempt.session,
        "Peer": attempt.peer,
        "Helo": attempt.helo,
        "Stage": tried.stage,
        "From": tried.sender,
        "To": list(tried.recipients),
        "Recipients": attempt.named,
        "Reply": tried.reply,
        "Reason": tried.reason,
        "Transcript": [] if transcript is None else transcript.lines(),
    }
