"""The memory formula of docs/limits.md in numbers, with what each part of it is for."""

from prixfixe.settings import load

__all__ = ["MIB", "allowed"]

MIB = 1 << 20
AT_REST = 48 * MIB  # the container's program, and SQLite's cache
PLAIN = 256 << 10  # a connection: its input, its envelope, its output, 64 KiB each, and its objects
LEAST = 4 * MIB  # for few connections: the allocator takes whole pieces, of 1 MiB in Python
TLS = 512 << 10  # more for one inside TLS
TLS_SESSIONS = 20 * MIB  # of clients that may take them up again
SHELF = 16 * MIB  # copies of which large answers are made; and one more, while it is made
ATTEMPTS = 33 * MIB  # that are remembered, with their transcripts
LOGINS = 32 * MIB  # passwords being checked: scrypt takes 16 MiB, and two are checked at a time


def allowed(environ, flood, at_rest):
    """Return the octets that a server of these settings may have resident during such a flood.

    `at_rest` is what it has before it: another Python than the container's, and the allocator's
    pages of the flood before, are no flood's. That rounds do not add up is judged by the slope.
    """
    settings = load({name: value for name, value in environ.items() if name.startswith("SMTP_")})
    parts = {
        "mail": settings.max_inflight + settings.max_message_size,
        "answers": SHELF + 2 * settings.max_message_size,
        "tls": TLS_SESSIONS + TLS * flood.connections,
        "logins": LOGINS,
        "attempts": ATTEMPTS,
    }
    connections = max(LEAST, PLAIN * flood.connections)
    return max(AT_REST, at_rest) + connections + sum(parts[one] for one in flood.holds)
