"""Attempts to send that were refused or broken off, as the API tells them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prixfixe.mail.folding import fold
from prixfixe.testing.api_client import ApiError

if TYPE_CHECKING:
    from prixfixe.testing.api_client import ApiClient

__all__ = ["Attempt", "attempts"]


@dataclass(frozen=True)
class Attempt:
    """One transaction that stored nothing.

    `stage` is where it ended, such as `rcpt`; `reply` is what the client was told, "" if nothing.
    """

    stage: str
    reply: str
    reason: str = ""
    sender: str = ""
    recipients: tuple[str, ...] = ()
    session: str = ""
    at: str = ""
    transcript: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return it in one line."""
        who = f"from <{self.sender}> to {', '.join(self.recipients) or 'nobody yet'}"
        why = f" ({self.reason})" if self.reason else ""
        return f"{self.stage.upper()}: {self.reply or 'no reply'}{why}, {who}"


def attempts(api: ApiClient, *, domain: str | None = None, to: str | None = None) -> list[Attempt]:
    """Return the attempts to send to a domain or an address, oldest first."""
    try:
        page = api.json("GET", "/api/v1/attempts")
    except ApiError as error:
        if error.status == 404:  # a server of an older version
            return []
        raise
    found = [_attempt(one) for one in page["attempts"]]
    return [one for one in found if _is_for(one, domain, to)]


def _attempt(record: dict[str, Any]) -> Attempt:
    return Attempt(
        stage=record["Stage"],
        reply=record["Reply"],
        reason=record.get("Reason", ""),
        sender=record.get("From", ""),
        recipients=tuple(record.get("To", ())),
        session=record.get("Session", ""),
        at=record.get("Created", ""),
    )


def _is_for(attempt: Attempt, domain: str | None, to: str | None) -> bool:
    addresses = [fold(one) for one in attempt.recipients]
    if domain is not None:
        return any(one.rpartition("@")[2] == domain for one in addresses)
    return to is None or fold(to) in addresses
