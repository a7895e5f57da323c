"""PrixFixe as a process, started as a user starts it.

It has default settings except for its addresses, ports and store, and logs to a file.
"""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.bench.rivals.base import Rival, Running, Spawned

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["STORES", "PrixFixe", "commit"]

READY = re.compile(r"^prixfixe ready smtp=127\.0\.0\.1:(\d+) ", re.MULTILINE)
STORES = {
    "discard": "discard:",
    "sqlite": "sqlite:{}/mail.db",
    "maildir": "maildir:{}/mail",
    "postgresql": "",
}
TITLES = {
    "discard": "PrixFixe, `discard`",
    "sqlite": "PrixFixe, `sqlite` (fsynced)",
    "maildir": "PrixFixe, `maildir` (fsynced)",
    "postgresql": "PrixFixe, `postgresql` (fsynced on a primary and a standby)",
}


def commit() -> str:
    """Return the commit of the checkout."""
    asked = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    return subprocess.run(asked, capture_output=True, text=True).stdout.strip() or "unknown"


class PrixFixe(Rival):
    """One of its stores."""

    program = "PrixFixe"

    def __init__(self, store: str) -> None:
        self.store = store
        self.key = f"prixfixe-{store}"
        self.title = TITLES[store]

    def missing(self) -> str:
        return ""

    def version(self) -> str:
        return f"commit {commit()}"

    def start(self, folder: Path, **settings: str) -> Running:
        environ = {
            "SMTP_BIND": "127.0.0.1",
            "SMTP_PORT": "0",
            "SMTP_HTTP_PORT": "0",
            "SMTP_STORE": STORES[self.store].format(folder),
            **settings,
        }
        command = [sys.executable, "-m", "prixfixe", "serve"]
        return Spawned(command, folder, _ready, environ)


def _ready(server: Spawned) -> tuple[str, int] | None:
    found = READY.search(server.log())
    return ("127.0.0.1", int(found[1])) if found else None
