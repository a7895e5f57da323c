"""Stock aiosmtpd that answers 250 and keeps nothing, on either event loop; see `stock_server`."""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path

from tests.bench.rivals.base import Rival, Running, Spawned

__all__ = ["Stock", "port_said"]

SERVER = Path(__file__).with_name("stock_server.py")


class Stock(Rival):
    """aiosmtpd in a process of its own."""

    program = "aiosmtpd"

    def __init__(self, loop: str) -> None:
        self.loop = loop
        self.key = f"aiosmtpd-{loop}"
        self.title = f"stock aiosmtpd, {loop}, keeps and logs nothing"

    def missing(self) -> str:
        return ""

    def version(self) -> str:
        return version("aiosmtpd")

    def start(self, folder: Path, **settings: str) -> Running:
        # By its path: as a module it would load this package, and its memory is measured.
        return Spawned([sys.executable, str(SERVER), self.loop], folder, port_said, settings)


def port_said(server: Spawned) -> tuple[str, int] | None:
    """Return the address when the process has said its port."""
    said = server.log()
    return ("127.0.0.1", int(said.split()[-1])) if said.endswith("\n") else None
