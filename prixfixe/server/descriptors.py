"""The limit on file descriptors (RLIMIT_NOFILE), and how many the settings need.

A shortage is logged at the start, because a connection without a descriptor waits unseen. The
server starts all the same.
"""

from __future__ import annotations

import contextlib
import resource
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from prixfixe.settings import Settings

__all__ = ["Shortage", "raise_limit", "shortage"]

# An idle server has 22 open: standard streams, event loop, listeners, threads, certificates, and
# the store with its lock. The rest is for readers of the API, refused connections, and files that
# are read again.
OWN_FILES: Final = 64
# The Maildir store keeps each file of a group open until the group is synced.
GROUP_FILES: Final = 64


class Shortage(NamedTuple):
    """The limit, the number of descriptors needed, and the number of SMTP connections that fit."""

    files: int
    needed: int
    connections: int
    reason: str


def raise_limit() -> None:
    """Raise the soft limit to the hard limit: each connection needs a descriptor."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):  # macOS refuses its own hard limit
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def shortage(settings: Settings, http_connections: int) -> Shortage | None:
    """Return the shortage, or None; `http_connections` is the maximum of the HTTP server."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    own = OWN_FILES + (GROUP_FILES if settings.store.startswith("maildir:") else 0)
    if settings.http_port is not None:
        own += http_connections
    needed = settings.max_connections + own
    if files == resource.RLIM_INFINITY or files >= needed:
        return None
    fitting = max(files - own, 0)
    remedy = f"raise the limit (ulimit -n, nofile) to {needed}"
    if fitting:
        remedy += f", or set SMTP_MAX_CONNECTIONS to {fitting}"
    return Shortage(files, needed, fitting, remedy)
