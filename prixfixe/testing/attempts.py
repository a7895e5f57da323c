"""Attempts to send that were refused or broken off, as the API tells them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prixfixe.testing.api_client import ApiError

if TYPE_CHECKING:
    from prixfixe.testing.api_client import ApiClient

__all__ = ["Attempt", "attempts"]


@dataclass(frozen=True)
class Attempt:
    """One transaction that stored nothing.

    `stage` is where it ended, such as `rcpt`; `reply` is what the client was told, "" if nothing.
    `transcript` has what was said in the session.
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
    wanted = f"@{domain}" if domain is not None else to
    try:
        page = api.json("GET", "/api/v1/attempts", query={"to": wanted})
    except ApiError as error:
        if error.status == 404:  # Mailpit, or another server with its API
            return []
        raise
    return [_attempt(one) for one in page["attempts"]]


def _attempt(record: dict[str, Any]) -> Attempt:
    return Attempt(
        stage=record["Stage"],
        reply=record["Reply"],
        reason=record["Reason"],
        sender=record["From"],
        recipients=tuple(record["To"]),
        session=record["Session"],
        at=record["Created"],
        transcript=tuple(record["Transcript"]),
    )
