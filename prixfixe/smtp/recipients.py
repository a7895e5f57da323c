"""The allow-list of SMTP_RECIPIENTS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prixfixe.smtp import replies
from prixfixe.smtp.address import comparable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prixfixe.smtp.replies import Reply

__all__ = ["RecipientPolicy"]


class RecipientPolicy:
    """An allow-list of `@example.com` and `user@example.com`; an empty one allows everyone.

    Case, quotes and the form of an international domain are ignored. Postmaster is always allowed,
    bare or at a listed domain (RFC 5321 section 4.5.1).
    """

    __slots__ = ("_allowed", "_domains")

    def __init__(self, entries: Iterable[str] = ()) -> None:
        self._allowed = frozenset(map(comparable, entries))
        self._domains = frozenset(entry.rpartition("@")[2] for entry in self._allowed)

    def refusal(self, address: str) -> Reply | None:
        """Return the refusal of a mailbox, or None to accept it."""
        if not self._allowed:
            return None
        folded = comparable(address)
        domain = folded.rpartition("@")[2]
        is_postmaster = folded == "postmaster" or (
            folded == f"postmaster@{domain}" and domain in self._domains
        )
        if is_postmaster or folded in self._allowed or f"@{domain}" in self._allowed:
            return None
        return replies.NO_SUCH_RECIPIENT
