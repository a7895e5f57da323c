"""Whether the process may open as many descriptors as its settings can take.

Owns: the limit of the system (RLIMIT_NOFILE), and what connections, store and the rest need of it.
Promises: the soft limit is raised to the hard one; what is still missing is told at the start, for
a connection without a descriptor waits in silence.
Refuses: ending the start: a server with fewer places takes mail all the same.
"""

from __future__ import annotations

import contextlib
import resource
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from prixfixe.settings import Settings

__all__ = ["Shortage", "raise_limit", "shortage"]

# Standard streams, event loop, listeners, threads, certificates, and store with its lock: 22 are
# open in an idle server. The rest is for what comes and goes: readers of the API, newcomers that
# are turned away, files that are read again.
OWN_FILES: Final = 64
# The Maildir store holds each file of a group open until the group is synced.
GROUP_FILES: Final = 64


class Shortage(NamedTuple):
    """How many descriptors there may be, how many are needed, how many SMTP connections fit."""

    files: int
    needed: int
    connections: int
    reason: str


def raise_limit() -> None:
    """Take all the descriptors we may have: one a connection, and 1024 are soon used up."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):  # macOS refuses its own hard limit.
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def shortage(settings: Settings, http_connections: int) -> Shortage | None:
    """Return what is missing, or None. `http_connections` is how many HTTP takes at most."""
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
