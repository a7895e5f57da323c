"""The messages of a run, and the interface for callers that supply their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from prixfixe.load.plan import Plan

__all__ = ["END", "Letter", "PlainPost", "Post", "letter_to", "message"]

END = b".\r\n"
_LINE = b"x" * 76 + b"\r\n"


class Letter(NamedTuple):
    """One message as a client sends it: the lines of MAIL and RCPT, and the data with its dot."""

    mail: bytes
    rcpt: bytes
    data: bytes


class Post(Protocol):
    """The source of the messages of a run, told of their replies; tests supply their own."""

    def letter(self, number: int, size: int) -> Letter:
        """Return message `number` of about `size` bytes; called once for each."""
        ...

    def answered(self, number: int, code: int) -> None:
        """Note the reply code of a message; not called for a message without a reply."""
        ...


def letter_to(sender: str, recipient: str, data: bytes) -> Letter:
    """Return a letter of data that is already dot-stuffed and has its final dot."""
    mail, rcpt = f"MAIL FROM:<{sender}>\r\n", f"RCPT TO:<{recipient}>\r\n"
    return Letter(mail.encode(), rcpt.encode(), data)


def message(number: int, size: int) -> bytes:
    """Return message `number` of about `size` bytes, with its final dot."""
    head = f"From: <load@example.com>\r\nSubject: load {number}\r\n\r\n".encode("ascii")
    lines, rest = divmod(max(0, size - len(head)), len(_LINE))
    body = head + _LINE * lines + (b"x" * max(0, rest - 2) + b"\r\n" if rest else b"")
    return body + END


class PlainPost:
    """Messages with the plan's addresses."""

    def __init__(self, plan: Plan) -> None:
        self._envelope = letter_to(plan.sender, plan.recipient, b"")

    def letter(self, number: int, size: int) -> Letter:
        """Return the message of that number."""
        return self._envelope._replace(data=message(number, size))

    def answered(self, number: int, code: int) -> None:
        """Do nothing: the outcome counts the replies."""
