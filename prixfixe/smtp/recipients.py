"""Accept or refuse a recipient: pure decisions, None or a Reply.

Owns: the recipient allow-list of SMTP_RECIPIENTS.
Promises: an empty list accepts everyone; a listed domain's postmaster and the bare `postmaster`
are always accepted (RFC 5321 section 4.5.1); case never matters (what a person who types a list
means, and RFC 5321 section 2.4 lets the receiving domain decide), nor do quotes and the form of an
international domain.
Refuses: sockets, clocks, look-ups.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prixfixe.smtp import replies
from prixfixe.smtp.address import comparable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prixfixe.smtp.replies import Reply

__all__ = ["RecipientPolicy"]


class RecipientPolicy:
    """The allow-list: entries are `@example.com` or `user@example.com`."""

    __slots__ = ("_allowed", "_domains")

    def __init__(self, entries: Iterable[str] = ()) -> None:
        self._allowed = frozenset(map(comparable, entries))
        self._domains = frozenset(entry.rpartition("@")[2] for entry in self._allowed)

    def judge(self, address: str) -> Reply | None:
        """Return None to accept the mailbox, else the refusal."""
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
