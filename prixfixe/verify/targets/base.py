"""What a target can do: start servers, and what may be done to one that runs.

Targets differ in what they can: `cannot` is what a case gets if it asks for more.
"""

from __future__ import annotations

import abc
import contextlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from prixfixe.verify.dialogue.servers import UnseenError

if TYPE_CHECKING:
    from collections.abc import Container, Mapping
    from pathlib import Path

    from prixfixe.verify.contract import Contract

__all__ = ["EnvironmentFault", "Launch", "Machine", "Source", "cannot", "files_below", "stem"]


class EnvironmentFault(Exception):  # noqa: N818 - a fault of where this runs, not of a server
    """The verifier's environment is at fault: no engine, no such image, no free port."""


def cannot(what: str) -> UnseenError:
    """Return the error of a target that cannot do what a case asks."""
    return UnseenError(f"this target cannot show {what}")


@dataclass(frozen=True)
class Launch:
    """How a server is started. `volume` is a name that `new_volume` made, or "" for one of its own.

    `is_read_only`: the volume cannot be written.

    `hardening` are options of the engine; targets without one ignore what they cannot give.
    """

    env: Mapping[str, str] = field(default_factory=dict)
    args: tuple[str, ...] = ()
    files: Path | None = None
    volume: str = ""
    is_read_only: bool = False
    hardening: Mapping[str, Any] = field(default_factory=dict)

    def having(self, **hardening: Any) -> Launch:  # noqa: ANN401 - the engine's options
        """Return this with further options of the engine."""
        return replace(self, hardening={**self.hardening, **hardening})


def stem(path: str) -> str:
    """Return a file's name up to a colon; what follows in a Maildir changes."""
    return path.rpartition("/")[2].partition(":")[0]


def files_below(top: Path, known: Container[str]) -> dict[str, bytes | None]:
    """Return the files of a folder of this machine, as `Machine.files` does."""
    found: dict[str, bytes | None] = {}
    for one in [top] if top.is_file() else sorted(top.rglob("*")):
        with contextlib.suppress(OSError):  # moved meanwhile, as in a Maildir
            if stem(one.name) in known:
                found[str(one)] = None
            elif one.is_file():
                found[str(one)] = one.read_bytes()
    return found


class Machine(abc.ABC):
    """One server that was started, or found running."""

    @abc.abstractmethod
    def address(self, port: int) -> tuple[str, int]:
        """Return where a port of the server is to be reached from here."""

    def is_running(self) -> bool:
        """Whether it has not ended."""
        return True

    def signal(self, name: str) -> None:  # noqa: ARG002 - for those who can
        """Send a signal to its first process."""
        raise cannot("signals")

    def stop(self, seconds: float) -> int:  # noqa: ARG002
        """Stop it as its engine does, kill it when the time is up, and return the exit code."""
        raise cannot("a stop")

    def wait(self, seconds: float) -> int:  # noqa: ARG002
        """Wait for its end and return the exit code; raise TimeoutError."""
        raise cannot("an end")

    def start_again(self) -> None:
        """Start it once more, on the same volume."""
        raise cannot("a second start")

    def remove(self) -> None:
        """Remove it; a named volume stays."""

    def logs(self) -> str:
        """Return what it wrote."""
        raise cannot("logs")

    def memory(self) -> int:
        """Return how many bytes of memory it uses now."""
        raise cannot("memory")

    def facts(self) -> dict[str, Any]:
        """Return the engine's record of it."""
        raise cannot("the state of a container")

    def run(self, *command: str) -> tuple[int, bytes]:  # noqa: ARG002
        """Run a command beside it; return its exit code and output."""
        raise cannot("commands inside")

    def files(self, path: str, known: Container[str] = ()) -> dict[str, bytes | None]:  # noqa: ARG002
        """Return the files below a folder, or one file, by path; also after the end.

        A file whose name, up to a colon, is `known` is not read: its value is None.
        """
        raise cannot("files")


class Source(abc.ABC):
    """Where servers come from. `close` ends and removes all that was made."""

    name = ""
    is_direct = True
    can_start = False
    has_image = False
    is_many = False  # whether servers can be started beside each other
    is_kept = False  # whether what was made stays for a look

    @abc.abstractmethod
    def launch(self, launch: Launch) -> Machine:
        """Start a server; it may not be ready yet."""

    def complete(self, contract: Contract) -> dict[str, Any]:  # noqa: ARG002
        """Return tables for what the contract leaves open, such as the port that is exposed."""
        return {}

    def new_volume(self) -> str:
        """Make a volume and return its name."""
        raise cannot("volumes")

    def drop_volume(self, name: str) -> None:
        """Remove a volume."""

    def facts(self) -> dict[str, str]:
        """Return what a report says of the target: digest, engine."""
        return {}

    def halt(self) -> None:
        """End every server at once; nothing is started from now on."""

    def close(self) -> None:
        """End and remove all that was made."""
