"""What a listener offers and enforces, computed once and shared by all its sessions."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from prixfixe.smtp import replies, sasl
from prixfixe.smtp.address import parse_path
from prixfixe.smtp.recipients import RecipientPolicy
from prixfixe.smtp.replies import Reply  # noqa: TC001 - a NamedTuple reads its annotations

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["RECIPIENT_OCTETS", "Offer", "Wording"]

RECIPIENT_OCTETS: Final = 1024  # of memory on average; few recipients take over a quarter of it
_MECHANISMS = tuple(name.decode("ascii") for name in sasl.EXCHANGES)
_SCRAM = sasl.SCRAM.decode("ascii")  # offered only while every user has keys


class Wording(NamedTuple):
    """Replies where the RFCs leave a choice, or where programs count on another one."""

    parameter_after_helo: Reply = replies.UNKNOWN_PARAMETER
    long_line: Reply = replies.MESSAGE_LINE_TOO_LONG
    no_tls: Reply = replies.TLS_NOT_OFFERED


_USUAL: Final = Wording()


@dataclass(slots=True)
class Offer:
    """The conditions of one listener. Sizes are in bytes; `math.inf` is no limit."""

    domain: str = "localhost"
    max_message_size: int = 10 * 2**20
    max_recipients: int = 1000
    max_errors: int = 20
    max_messages: float = math.inf
    is_strict: bool = False
    takes_bare_lf: bool = False
    recipients: RecipientPolicy = field(default_factory=RecipientPolicy)
    offers_tls: bool = False
    requires_tls: bool = False
    offers_auth: bool = False
    requires_auth: bool = False
    allows_clear_auth: bool = False
    has_faults: bool = False  # tests may hinder sessions
    offers_utf8: bool = True
    announces_size: bool = True
    read_path: Callable[[str], tuple[str, str]] = parse_path
    wording: Wording = _USUAL
    ident: str = "ESMTP PrixFixe"
    mechanisms: tuple[str, ...] = _MECHANISMS
    max_envelope_octets: int = field(init=False)
    is_open: bool = field(init=False)  # whether every verb may be used from the start, unhindered
    greeting: Reply = field(init=False)
    helo: Reply = field(init=False)
    _ehlo: dict[tuple[bool, bool], Reply] = field(init=False)

    def __post_init__(self) -> None:
        self.max_envelope_octets = self.max_recipients * RECIPIENT_OCTETS
        self.is_open = not (self.requires_tls or self.requires_auth or self.has_faults)
        self.refresh()

    def refresh(self) -> None:
        """Make the replies again, after a change of what is offered."""
        self.greeting = replies.greeting(self.domain, self.ident)
        self.helo = replies.helo(self.domain)
        self._ehlo = {
            (tls, scram): replies.ehlo(self.domain, self._keywords(tls, scram))
            for tls in (False, True)
            for scram in (False, True)
        }

    def ehlo(self, *, is_encrypted: bool, has_scram: bool = False) -> Reply:
        """Return the EHLO answer for a clear or an encrypted session."""
        return self._ehlo[is_encrypted, has_scram]

    def may_authenticate(self, *, is_encrypted: bool) -> bool:
        """Whether AUTH can succeed now; it is never offered otherwise (RFC 4954 section 4)."""
        return self.offers_auth and (is_encrypted or self.allows_clear_auth)

    def _keywords(self, is_encrypted: bool, has_scram: bool) -> list[str]:  # noqa: FBT001
        keywords = [
            "PIPELINING",
            *([f"SIZE {self.max_message_size}"] if self.announces_size else []),
            "8BITMIME",
            *(["SMTPUTF8"] if self.offers_utf8 else []),
            "ENHANCEDSTATUSCODES",
            "CHUNKING",
            "DSN",
        ]
        if self.offers_tls and not is_encrypted:
            keywords.append("STARTTLS")
        if self.may_authenticate(is_encrypted=is_encrypted):
            offered = (*self.mechanisms, _SCRAM) if has_scram else self.mechanisms
            keywords.append("AUTH " + " ".join(offered))
        return [*keywords, "HELP"]
