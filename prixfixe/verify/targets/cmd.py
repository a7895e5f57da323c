"""`cmd://COMMAND`: a program on this machine, in a process group of its own.

In the command, `{port}`, `{http_port}`, `{volume}` and `{files}` are what a start gets; ports are
free ones. Without `{port}` the contract's `smtp_port` is used.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prixfixe.verify.interrupts import Gate, shielded
from prixfixe.verify.targets.base import (
    EnvironmentFault,
    Launch,
    Machine,
    Source,
    cannot,
    files_below,
)

if TYPE_CHECKING:
    from collections.abc import Container

    from prixfixe.verify.contract import Contract

__all__ = ["CmdSource"]


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


class CmdMachine(Machine):
    """One process group; its output goes to a file."""

    def __init__(self, source: CmdSource, launch: Launch) -> None:
        self.source = source
        self.folder = Path(tempfile.mkdtemp(prefix="prixfixe-verify-"))
        self.volume = Path(launch.volume) if launch.volume else self.folder / "volume"
        self.volume.mkdir(exist_ok=True)
        self.ports = {name: _free_port() for name in ("port", "http_port", "smtps_port")}
        self.by_contract = {
            int(source.ports[name]): self.ports[mine]
            for name, mine in (
                ("smtp_port", "port"),
                ("http_port", "http_port"),
                ("smtps_port", "smtps_port"),
            )
            if name in source.ports and f"{{{mine}}}" in source.command + str(launch.env)
        }
        given = {**self.ports, "volume": self.volume, "files": launch.files or ""}
        words = [_filled(word, given) for word in (*shlex.split(source.command), *launch.args)]
        self.words = words
        self.env = {**os.environ, **{k: _filled(v, given) for k, v in launch.env.items()}}
        self.process = self._started()

    def _started(self) -> subprocess.Popen[bytes]:
        with (self.folder / "log").open("ab") as log:
            try:
                return subprocess.Popen(  # noqa: S603 - the command that the user named
                    self.words,
                    env=self.env,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as error:
                shutil.rmtree(self.folder, ignore_errors=True)
                msg = f"{self.words[0]}: {error.strerror}"
                raise EnvironmentFault(msg) from error

    def address(self, port: int) -> tuple[str, int]:
        return "127.0.0.1", self.by_contract.get(port, port)

    def is_running(self) -> bool:
        return self.process.poll() is None

    def signal(self, name: str) -> None:
        number = signal.Signals[name]
        with contextlib.suppress(ProcessLookupError):
            if number in (signal.SIGKILL, signal.SIGSTOP, signal.SIGCONT):
                os.killpg(self.process.pid, number)  # as the end of a container is the end of all
            else:
                self.process.send_signal(number)

    def wait(self, seconds: float) -> int:
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            msg = f"it still runs after {seconds:g} s"
            raise TimeoutError(msg) from None

    def stop(self, seconds: float) -> int:
        self.signal("SIGTERM")
        try:
            return self.wait(seconds)
        except TimeoutError:
            self.signal("SIGKILL")
            return self.wait(10)

    def start_again(self) -> None:
        with shielded(), self.source.gate.passed():
            self.process = self._started()

    def remove(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)
        shutil.rmtree(self.folder, ignore_errors=True)

    def logs(self) -> str:
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")

    def memory(self) -> int:
        with contextlib.suppress(OSError):
            return sum(map(_resident, self._members()))
        raise cannot("memory")

    def _members(self) -> list[str]:
        """Return the process ids of the group."""
        found = []
        for path in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                fields = path.read_text().rpartition(")")[2].split()
                if int(fields[2]) == self.process.pid:
                    found.append(path.parent.name)
        return found

    def run(self, *command: str) -> tuple[int, bytes]:
        done = subprocess.run(command, capture_output=True, timeout=60, check=False)  # noqa: S603
        return done.returncode, done.stdout

    def files(self, path: str, known: Container[str] = ()) -> dict[str, bytes | None]:
        return files_below(Path(_filled(path, {"volume": self.volume})), known)


def _resident(pid: str) -> int:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) * 1024 if found else 0


def _filled(text: str, given: dict[str, Any]) -> str:
    for name, value in given.items():
        text = text.replace(f"{{{name}}}", str(value))
    return text


class CmdSource(Source):
    """A command."""

    can_start = True

    def __init__(self, command: str) -> None:
        self.command = command
        self.name = f"cmd://{command}"
        self.ports: dict[str, int] = {}
        self._machines: list[CmdMachine] = []
        self._volumes: list[str] = []
        self.gate = Gate()

    def complete(self, contract: Contract) -> dict[str, Any]:
        text = f"{self.command} {contract.tables.get('target')}"
        self.is_many = "{port}" in text  # otherwise all would want the same
        standard = {"smtp_port": 25, "http_port": 8025, "smtps_port": 465}
        self.ports = {**standard, **contract.table("target")}
        return {"target": {"smtp_port": self.ports["smtp_port"]}}

    def launch(self, launch: Launch) -> Machine:
        with shielded(), self.gate.passed():
            machine = CmdMachine(self, launch)
            self._machines.append(machine)
        return machine

    def new_volume(self) -> str:
        with shielded(), self.gate.passed():
            self._volumes.append(tempfile.mkdtemp(prefix="prixfixe-verify-"))
        return self._volumes[-1]

    def drop_volume(self, name: str) -> None:
        shutil.rmtree(name, ignore_errors=True)

    def halt(self) -> None:
        self.gate.shut()
        for machine in self._machines:
            machine.remove()

    def close(self) -> None:
        for machine in self._machines:
            machine.remove()
        for name in self._volumes:
            self.drop_volume(name)
