"""What a listener offers and enforces: computed once, shared by all its sessions.

Owns: the constants of a session derived from settings, and the encoded greeting and EHLO replies.
Promises: nothing here changes while the listener lives (certificates and users are not here).
Refuses: per-connection state.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from prixfixe import replies
from prixfixe.policy import RecipientPolicy
from prixfixe.session import sasl

if TYPE_CHECKING:
    from prixfixe.replies import Reply
    from prixfixe.settings import Settings

__all__ = ["RECIPIENT_OCTETS", "Terms"]

RECIPIENT_OCTETS: Final = 1024  # of memory, on an average: few take more than a quarter of it
_MECHANISMS = tuple(name.decode("ascii") for name in sasl.EXCHANGES)
_SCRAM = sasl.SCRAM.decode("ascii")  # needs keys of every user: a change of their file decides


class Terms:
    """The conditions of one listener, read from the settings."""

    def __init__(self, settings: Settings) -> None:
        self.domain = settings.domain
        self.max_message_size = settings.max_message_size
        self.max_recipients = settings.max_recipients
        self.max_envelope_octets = settings.max_recipients * RECIPIENT_OCTETS
        self.max_errors = settings.max_errors
        self.max_messages = settings.max_messages or math.inf
        self.is_strict = settings.strict
        self.takes_bare_lf = settings.bare_lf == "accept"
        self.recipients = RecipientPolicy(settings.recipients)
        self.offers_tls = settings.tls != "off" and settings.tls_cert is not None
        self.requires_tls = settings.tls == "required"
        self.offers_auth = settings.auth != "off"
        self.requires_auth = settings.auth == "required"
        self.is_open = not (self.requires_tls or self.requires_auth)
        self.allows_clear_auth = settings.auth_insecure
        self.greeting = replies.greeting(self.domain)
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
            f"SIZE {self.max_message_size}",
            "8BITMIME",
            "SMTPUTF8",
            "ENHANCEDSTATUSCODES",
            "CHUNKING",
            "DSN",
        ]
        if self.offers_tls and not is_encrypted:
            keywords.append("STARTTLS")
        if self.may_authenticate(is_encrypted=is_encrypted):
            offered = (*_MECHANISMS, _SCRAM) if has_scram else _MECHANISMS
            keywords.append("AUTH " + " ".join(offered))
        return [*keywords, "HELP"]
