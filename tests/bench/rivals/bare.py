"""A bare uvloop protocol that answers and does nothing else; see `bare_server`."""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path

from tests.bench.rivals.base import Rival, Running, Spawned
from tests.bench.rivals.stock import port_said

__all__ = ["Bare"]

SERVER = Path(__file__).with_name("bare_server.py")


class Bare(Rival):
    """The least a Python server can do, in a process of its own."""

    key = "bare-uvloop"
    title = "a bare uvloop protocol (checks and keeps nothing: the floor of Python)"
    program = "uvloop"

    def missing(self) -> str:
        return ""

    def version(self) -> str:
        return version("uvloop")

    def start(self, folder: Path, **settings: str) -> Running:
        return Spawned([sys.executable, str(SERVER)], folder, port_said, settings)
