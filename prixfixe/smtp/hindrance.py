"""What a test may put in the way of a session: what is known at a stage, and what is done then.

The session asks a function for a `Hindrance` at each stage, where a server has one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from prixfixe.smtp.replies import Reply

__all__ = ["STAGES", "STAGE_OF", "Facts", "Hindrance"]

STAGES = ("connect", "ehlo", "starttls", "auth", "mail", "rcpt", "data", "eod")
STAGE_OF = {
    "HELO": "ehlo",
    "EHLO": "ehlo",
    "STARTTLS": "starttls",
    "AUTH": "auth",
    "MAIL": "mail",
    "RCPT": "rcpt",
    "DATA": "data",
    "BDAT": "data",
}


class Facts(NamedTuple):
    """What is known of a session at a stage; `sender` is None before MAIL."""

    stage: str
    peer: str
    helo: str = ""
    sender: str | None = None
    recipients: tuple[str, ...] = ()


class Hindrance(NamedTuple):
    """What is done: wait for `seconds` (`math.inf` is a stall), then refuse with `reply` or drop.

    With `close_after` the connection is dropped after so many further bytes of the client.
    """

    seconds: float = 0.0
    reply: Reply | None = None
    is_drop: bool = False
    close_after: int | None = None
