"""smtp-sink of Postfix, in C: reads, answers, keeps nothing; the ceiling of the generator."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from tests.bench.rivals.base import Rival, Running, Spawned, free_port, greets
from tests.bench.rivals.postfix import Postfix, postfix_version

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Sink"]


class Sink(Rival):
    """smtp-sink in a process of its own."""

    key = "smtp-sink"
    title = "smtp-sink (C, keeps nothing: the ceiling)"
    program = Postfix.program

    def missing(self) -> str:
        return "" if shutil.which("smtp-sink") else "smtp-sink is not installed"

    def version(self) -> str:
        return postfix_version()

    def start(self, folder: Path, **settings: str) -> Running:
        port = free_port()
        user = ["-u", "nobody"] if os.geteuid() == 0 else []  # it refuses to run as root
        command = ["smtp-sink", *user, "-m", "1000", f"127.0.0.1:{port}", "1000"]
        return Spawned(command, folder, lambda _: greets(port), settings)
