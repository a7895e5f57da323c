"""One mail transaction: from an accepted MAIL to the end of its data."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prixfixe.mail.message import Params, Recipient
    from prixfixe.smtp.data import ChunkReader
    from prixfixe.smtp.replies import Reply

__all__ = ["Transaction"]


class Transaction:
    """The state between MAIL and the reply to its data; `chunks` reads the data of BDAT.

    `refusal` is the first refusal of RCPT or DATA. `refused` is the argument of the first RCPT that
    was refused, if any. `octets` is the approximate memory of the
    recipients, in bytes.
    """

    __slots__ = (
        "_last_octets",
        "chunks",
        "is_utf8",
        "octets",
        "params",
        "recipients",
        "refusal",
        "refused",
        "sender",
    )

    def __init__(self, sender: str, params: Params, *, is_utf8: bool) -> None:
        self.sender = sender
        self.params = params
        self.is_utf8 = is_utf8
        self.recipients: list[Recipient] = []
        self.chunks: ChunkReader | None = None
        self.refusal: Reply | None = None
        self.refused: bytes | None = None
        self.octets = self._last_octets = 0

    def add(self, recipient: Recipient, octets: int) -> None:
        """Add a recipient that takes about `octets` bytes of memory."""
        self.recipients.append(recipient)
        self._last_octets = octets
        self.octets += octets

    def remove_last(self) -> None:
        """Remove the recipient that was added last."""
        if self.recipients:
            self.recipients.pop()
            self.octets -= self._last_octets

    def note_refusal(self, reply: Reply) -> None:
        """Remember the first refusal."""
        self.refusal = self.refusal or reply
