"""PrixFixe on a PostgreSQL primary with two synchronous standbys, all on one machine and one disk.

The cluster is made at the first start and ends with the program; each start has an empty store.
The database's processor time does not count as the server's.
"""

from __future__ import annotations

import atexit
import contextlib
from typing import TYPE_CHECKING

from tests.bench.rivals.ours import PrixFixe
from tests.support import pg_cluster

if TYPE_CHECKING:
    from pathlib import Path

    from tests.bench.rivals.base import Running

__all__ = ["Replicated"]


class Replicated(PrixFixe):
    """The store `postgresql`."""

    def __init__(self) -> None:
        super().__init__("postgresql")
        self._cluster: pg_cluster.Cluster | None = None

    def missing(self) -> str:
        return pg_cluster.why_missing()

    def start(self, folder: Path, **settings: str) -> Running:
        return super().start(folder, SMTP_STORE=self._made().new_url(), **settings)

    def url(self) -> str:
        """Return the URL of a store that servers may share."""
        return self._made().url()

    def _made(self) -> pg_cluster.Cluster:
        if self._cluster is None:
            stack = contextlib.ExitStack()
            self._cluster = stack.enter_context(pg_cluster.running())
            atexit.register(stack.close)
        return self._cluster
