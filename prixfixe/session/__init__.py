"""The SMTP session: the conversation as a value, and the one room that imports aiosmtpd.

Owns: everything between an accepted socket and `Store.put`.
Promises: see `dialogue` (order, bounds, no I/O), `link` (time, disconnects), `connection`.
Refuses: listening, settings, storage.
"""

from prixfixe.session.connection import Connection
from prixfixe.session.context import Context, session_ids
from prixfixe.session.outbox import Outbox
from prixfixe.session.pace import Limits, Shedding
from prixfixe.session.terms import RECIPIENT_OCTETS, Terms
from prixfixe.session.turns import Turns

__all__ = [
    "RECIPIENT_OCTETS",
    "Connection",
    "Context",
    "Limits",
    "Outbox",
    "Shedding",
    "Terms",
    "Turns",
    "session_ids",
]
