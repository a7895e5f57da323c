"""Servers to play cases on: how one is asked, and what may be seen of it.

A `Target` is a kind of server and starts one `Server` for each configuration of the cases; a
`Stored` is a message that a server gave back.
"""

from __future__ import annotations

import abc
import contextlib
import functools
import itertools
import json
import os
import re
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prixfixe.verify.dialogue.wire import DEADLINE, Wire

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator, Sequence

    import trustme

__all__ = [
    "LIMIT_OCTETS",
    "PASSWORD",
    "SLOWER_THAN_IDLE",
    "USER",
    "NotOfferedError",
    "Server",
    "Stored",
    "Target",
    "UnseenError",
]

LIMIT_OCTETS = 10000  # of configuration Z
USER, PASSWORD = "user@y.test", "correct horse"
SLOWER_THAN_IDLE = "2.5"  # seconds, of configuration OW


class NotOfferedError(Exception):
    """The target cannot be had in this configuration."""


class UnseenError(Exception):
    """What the case asks cannot be seen of this target."""


@dataclass(frozen=True)
class Stored:
    """A message as the target gives it back. `raw` is the file with trace headers, if any."""

    sender: str
    recipients: tuple[str, ...]
    body: bytes
    raw: bytes | None
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def everything(self) -> bytes:
        """All octets in which something unwanted could show."""
        facts = json.dumps(self.facts, ensure_ascii=False).encode("utf-8", "surrogateescape")
        names = "\n".join((self.sender, *self.recipients)).encode("utf-8", "surrogateescape")
        return b"\n".join((names, facts, self.raw or self.body))

    def has_body(self, wanted: bytes) -> bool:
        """Whether the body is this."""
        return self.body == wanted

    def is_from(self, wanted: str) -> bool:
        """Whether this is the recorded sender."""
        return self.sender == wanted

    def is_for(self, wanted: Sequence[str]) -> bool:
        """Whether these are the recorded recipients."""
        return self.recipients == tuple(wanted)


class Server(abc.ABC):
    """One running server. `tls_port` is the port of implicit TLS, if there is one."""

    host = "127.0.0.1"
    port = 0
    tls_port: int | None = None
    pid: int | None = None
    deadline = DEADLINE
    patience = 3.0  # seconds for what was acknowledged to be seen
    source = ""  # the address to connect from; loopback has many
    _keywords: list[str] | None = None

    @abc.abstractmethod
    def clear(self) -> None:
        """Forget all messages."""

    @abc.abstractmethod
    def messages(self) -> list[Stored]:
        """Return what is kept, oldest first."""

    @abc.abstractmethod
    def stop(self, number: int = signal.SIGTERM) -> int:
        """Signal, wait for the end, and return the exit code."""

    def connect(self, port: int | None = None, window: int = 0) -> Wire:
        """Open a connection, nothing read yet."""
        return Wire((self.host, port or self.port), self.source, self.deadline, window)

    def greeted(self, window: int = 0) -> Wire:
        """Open a connection and read the greeting."""
        with contextlib.ExitStack() as stack:  # a server that dies now leaves no open socket
            wire = stack.enter_context(self.connect(window=window))
            wire.reply()
            stack.pop_all()
        return wire

    def hello(self, window: int = 0) -> Wire:
        """Open a connection up to the answer to EHLO."""
        with contextlib.ExitStack() as stack:
            wire = stack.enter_context(self.greeted(window))
            wire.ask(b"EHLO c.test\r\n")
            stack.pop_all()
        return wire

    def keywords(self) -> list[str]:
        """Return the keywords of the answer to EHLO, asked once."""
        if self._keywords is None:
            with self.greeted() as wire:
                wire.send(b"EHLO c.test\r\n")
                lines = wire.reply().decode("latin-1").splitlines()[1:]
            self._keywords = [line[4:].split(" ")[0].upper() for line in lines]
        return self._keywords

    def settled(
        self, is_enough: Callable[[list[Stored]], bool], seconds: float | None = None
    ) -> list[Stored]:
        """Return the messages once they are as wanted, or as they are when time is up."""
        with contextlib.suppress(OSError), self.greeted() as wire:
            wire.ask(b"QUIT\r\n")  # What other clients sent before was read before this.
        until = time.monotonic() + (self.patience if seconds is None else seconds)
        while True:
            is_last = time.monotonic() > until
            found = self.messages()
            if is_enough(found) or is_last:
                return found
            time.sleep(0.02)

    def logs(self) -> str:
        """Return what the server logged so far."""
        raise UnseenError("no logs")

    def runs(self, verb: str) -> int:  # noqa: ARG002 - who can count does
        """Return how many commands of this verb the server ran so far."""
        raise UnseenError("no count of commands")

    def sessions(self) -> int:
        """Return how many sessions the server has now."""
        raise UnseenError("no count of sessions")

    def is_alive(self) -> bool:
        """Whether a new client is served."""
        with self.hello() as wire:
            return wire.ask(b"NOOP\r\n") == [250]

    def resident_octets(self, key: str = "VmRSS") -> int:
        """Return the process's resident memory; `VmHWM` is the peak."""
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        found = re.search(rf"{key}:\s+(\d+) kB", status)
        return int(found[1]) * 1024 if found else 0

    @contextlib.contextmanager
    def growth(self) -> Iterator[Callable[[], int]]:
        """Yield a function that tells how far peak memory rose above where it was."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5", encoding="ascii")  # resets the peak
        before = self.resident_octets()
        yield lambda: self.resident_octets("VmHWM") - before


class Target(abc.ABC):
    """A kind of server.

    `is_strict` asks that every reply keeps PrixFixe's own promises; `is_direct` says that nothing,
    such as an engine's proxy, stands between and adds its own delays and segments. `takes_batches`
    says whether more than one command may be on its way, `knows_order` whether the last message
    told is the last that was sent.
    """

    name = title = "?"
    version = ""
    is_strict = False
    is_direct = True
    takes_batches = True
    knows_order = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._servers: dict[str, Server] = {}
        self._sources = itertools.count(256 * 256 * (os.getpid() % 200 + 1) + 2)
        self._source = ""

    def begin(self) -> None:
        """Start a case: later connections come from an address nobody used before."""
        number = next(self._sources)
        self._source = f"127.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255 or 1}"

    def using(self, config: str) -> Server:
        """Return the running server of a configuration, started when there is none.

        Raises:
            NotOfferedError: the target has no such configuration.

        """
        server = self._servers.get(config)
        if server is None:
            server = self._servers[config] = self.start(config)
        server.source = self._source
        return server

    @contextlib.contextmanager
    def fresh(self, config: str) -> Iterator[Server]:
        """Yield a server of its own, stopped at the end if it still runs."""
        server = self.start(config)
        try:
            yield server
        finally:
            server.stop(signal.SIGKILL)

    @abc.abstractmethod
    def start(self, config: str) -> Server:
        """Start a server of a configuration."""

    def close(self) -> None:
        """Stop everything."""
        for server in self._servers.values():
            server.stop(signal.SIGKILL)
        self._servers.clear()

    # --- what servers are given

    @functools.cached_property
    def _authority(self) -> trustme.CA:
        import trustme

        return trustme.CA()

    @functools.cached_property
    def certificate(self) -> tuple[Path, Path]:
        """The paths of a certificate for localhost and its key."""
        issued = self._authority.issue_cert("localhost", "127.0.0.1")
        paths = self.folder / "tls.pem", self.folder / "tls.key"
        paths[0].write_bytes(b"".join(one.bytes() for one in issued.cert_chain_pems))
        paths[1].write_bytes(issued.private_key_pem.bytes())
        return paths

    def renew(self) -> None:
        """Put another certificate and key in the place of those that servers were given."""
        issued = self._authority.issue_cert("localhost", "127.0.0.1")
        certificate, key = self.certificate
        whole = b"".join(one.bytes() for one in issued.cert_chain_pems)
        # The key first: a pair that does not fit is not served.
        for path, octets in ((key, issued.private_key_pem.bytes()), (certificate, whole)):
            new = path.with_suffix(".new")
            new.write_bytes(octets)
            new.chmod(0o644)
            new.replace(path)

    def trust(self) -> ssl.SSLContext:
        """Return a client's context that trusts the certificate."""
        import ssl

        context = ssl.create_default_context()
        self._authority.configure_trust(context)
        return context
