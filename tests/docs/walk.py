"""Run the commands of the documents one after another in a fresh clone, as a newcomer would.

The caller's settings and its virtual environment take no part. At the end every process that a walk
started is ended, and what it made in Docker is removed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.container import engine
from tests.container.builder import ensure_base
from tests.container.staging import staged
from tests.documents.blocks import is_printed
from tests.support.script_runner import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.documents.blocks import Block, Step

__all__ = ["PORTS", "Walk", "WalkError", "clone", "taken"]

# What the documents publish: SMTP, HTTP, Prometheus in a container and without one.
PORTS = (2525, 8025, 9090, 9091)
STEP_SECONDS = 300
REPEAT_SECONDS = 40
END_SECONDS = 20


class WalkError(Exception):
    """A command did not do what the document says."""


def taken() -> list[int]:
    """Return which of the documents' ports somebody else has."""
    return [port for port in PORTS if not _is_free(port)]


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


# Tagged in the origin once the newcomer has a clone: a release to upgrade to, under the very name
# that the documents use. One label more makes it another image, with all the cache of the first.
RELEASE = """
git clone --quiet "$origin" release && cd release
echo "LABEL prixfixe.release=$name" >>Dockerfile
git -c user.name=Us -c user.email=us@example.com commit --quiet --all --message "release: vX.Y.Z"
git tag vX.Y.Z
git push --quiet origin vX.Y.Z
"""


def clone(folder: Path, name: str) -> None:
    """Clone the checkout, with the changes that are not committed yet, and release a version after it."""
    origin = folder.parent / "origin.git"
    subprocess.run(["git", "clone", "--quiet", "--bare", ROOT, origin], check=True)
    subprocess.run(["git", "clone", "--quiet", origin, folder], check=True)
    subprocess.run(
        ["bash", "-ec", RELEASE],
        cwd=folder.parent,
        env=os.environ | {"origin": str(origin), "name": name},
        check=True,
    )
    _take_changes(folder)


def _take_changes(folder: Path) -> None:
    """Copy what is changed or new in the checkout, and remove what is gone."""
    shown = subprocess.run(
        ["git", "ls-files", "-z", "--modified", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, shown.stdout.split("\0")):
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
        else:
            (folder / name).unlink(missing_ok=True)


class Walk:
    """One reading of a document."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = engine.new_name()
        clone(folder, self.name)
        self.environ = staged(folder, self.name, self.name)
        self.environ["PRIXFIXE_DEBUG_IMAGE"] = f"{self.name}-debug"
        self._behind: list[subprocess.Popen[str]] = []

    def replace_prometheus(self) -> None:
        """Have Debian's Prometheus in the place of the image that compose would pull."""
        ensure_base(engine.client())
        name = f"{self.name}-prometheus"
        file = "prometheus.Dockerfile"
        engine.client().images.build(
            path=str(Path(__file__).parent),
            dockerfile=file,
            tag=name,
            labels=engine.labels(),
            rm=True,
        )
        self.environ["PROMETHEUS_IMAGE"] = name

    def follow(self, block: Block) -> None:
        """Do what a block says.

        Raises:
            WalkError: it failed, or printed something else than the document shows.

        """
        if block.is_after_interrupt:
            self._interrupt(block)
        for step in block.steps:
            if block.ready:
                self._begin(block, step)
            elif block.is_repeated:
                self._repeat(block, step)
            elif fault := self._fault(block, step):
                raise WalkError(fault)

    def _command(self, block: Block, step: Step) -> list[str]:
        if block.language == "python":
            return [str(self.folder / ".venv/bin/python"), "-c", step.command]
        return ["bash", "-eo", "pipefail", "-c", step.command]

    def _fault(self, block: Block, step: Step) -> str:
        """Run a step, and return what was wrong, or ""."""
        try:
            done = subprocess.run(
                self._command(block, step),
                cwd=self.folder,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=STEP_SECONDS,
            )
        except subprocess.TimeoutExpired:
            return f"{block.where}: still runs after {STEP_SECONDS} s:\n{step.command}"
        said = f"{block.where}:\n{step.command}printed:\n{done.stdout[-4000:]}"
        if done.returncode:
            return f"exit code {done.returncode} of {said}"
        if step.output is not None and not is_printed(step.output, done.stdout):
            return f"{said}instead of:\n{step.output}"
        return ""

    def _repeat(self, block: Block, step: Step) -> None:
        until = time.monotonic() + REPEAT_SECONDS
        while fault := self._fault(block, step):
            if time.monotonic() > until:
                raise WalkError(f"not so after {REPEAT_SECONDS} s: {fault}")
            time.sleep(0.2)

    # --- in the background

    def _begin(self, block: Block, step: Step) -> None:
        log = self.folder.parent / f"behind-{len(self._behind)}.log"
        with log.open("w") as file:
            process = subprocess.Popen(
                self._command(block, step),
                cwd=self.folder,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        self._behind.append(process)
        until = time.monotonic() + STEP_SECONDS
        while block.ready not in log.read_text():
            if process.poll() is not None or time.monotonic() > until:
                raise WalkError(f"{block.where}: no {block.ready!r} in:\n{log.read_text()[-4000:]}")
            time.sleep(0.05)

    def _interrupt(self, block: Block) -> None:
        """Press Ctrl-C where something runs, which has to end then."""
        if not self._behind:
            raise WalkError(f"{block.where}: nothing runs in the background")
        while self._behind:
            process = self._behind.pop()
            if process.poll() is not None:
                msg = f"{block.where}: what ran ended by itself with {process.returncode}"
                raise WalkError(msg)
            os.killpg(process.pid, signal.SIGINT)
            try:
                process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                self._behind.append(process)
                raise WalkError(f"{block.where}: Ctrl-C does not end what runs") from None

    # --- the end

    def discard(self) -> None:
        """End and remove everything."""
        for process in self._behind:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        engine.remove_named(self.name)
        released = {"label": f"prixfixe.release={self.name}"}  # it lost its name to the one before
        for image in engine.client().images.list(filters=released):
            engine.client().images.remove(image.id)


@contextlib.contextmanager
def walking(folder: Path) -> Iterator[Walk]:
    """A walk that is tidied away."""
    walk = Walk(folder)
    try:
        yield walk
    finally:
        walk.discard()
