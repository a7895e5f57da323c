"""The SMTP session: the conversation as a value, and the one room that imports aiosmtpd.

Owns: everything between an accepted socket and `Store.put`.
Promises: see `dialogue` (order, bounds, no I/O), `link` (time, disconnects), `connection`.
Refuses: listening, settings, storage.
"""

from prixfixe.connection.connection import Connection
from prixfixe.connection.reply_batch import Outbox
from prixfixe.connection.services import Context, session_ids
from prixfixe.connection.turns import Turns
from prixfixe.limits.timing import Limits, Shedding
from prixfixe.smtp.offer import RECIPIENT_OCTETS, Terms

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
