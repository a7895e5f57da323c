"""A server in a container for the scenarios of tests/durability, with its store on a local disk.

Each start is a new container on the same mail, as in an update. It needs an engine on this
machine, because the scenarios use the server's process and its disk.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

from tests.container.profile import MAIL
from tests.durability.rig import Process, Stand

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.container.box import Box

__all__ = ["BoxedStand"]

USER = 1000


class Boxed(Process):
    """A server in a container."""

    def __init__(self, box: Box) -> None:
        self.box = box
        self.look(int(box.state["Pid"]))
        self.port = box.address()[1]

    def messages(self) -> list[Any]:
        """What it keeps."""
        return self.box.messages()

    def wait(self) -> int:
        """Wait for the end and return the exit code."""
        return self.box.exit_code(30)

    def kill(self) -> None:
        """End it as a crash does, and take the container away, so that nothing holds the disk."""
        if self.box.is_started:
            if self.box.state["Running"]:
                self.signal(signal.SIGKILL)
                self.wait()
            self.box.remove()


class BoxedStand(Stand):
    """A store on a disk of this machine, served by one container at a time."""

    def __init__(self, folder: Path, technology: str, start: Callable[..., Box]) -> None:
        super().__init__(folder, technology)
        self._start = start

    def start(self, *_before: str, **environ: str) -> Boxed:  # type: ignore[override]
        """Start a container on the mail there is."""
        if self.server is not None:
            self.server.kill()
        inside = self.url.replace(str(self.root), MAIL)
        box = self._start(
            {"SMTP_STORE": inside, "SMTP_STORE_MIN_FREE": "0", **environ},
            volume=None,
            volumes={str(self.root): {"bind": MAIL, "mode": "rw"}},
        )
        box.is_trouble_expected = True
        self.server = Boxed(box)  # type: ignore[assignment]
        return self.server  # type: ignore[return-value]

    def close(self) -> None:
        """End the container."""
        if self.server is not None:
            self.server.kill()
