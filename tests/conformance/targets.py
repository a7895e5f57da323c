"""Servers to play cases on: how to start one, read back what it kept, and look at its process.

Owns: the `Target` and `Server` interfaces, the configuration letters, and PrixFixe as a process.
Promises: one server a configuration, started when first asked for and used again; everything is
stopped by `close`; a server's output is in its folder for the one who asks why.
Refuses: what cases mean.

Letters: D default, K AUTH in clear for users with keys of SCRAM, Z a size limit of 10000, T STARTTLS offered, R required, A AUTH in clear, S AUTH
inside TLS only, I implicit TLS, C the command line as users run it, O 1.5 s idle limit, L bare LF taken, E a full
store, B a store that fails with a text that would add reply lines, W a commit of 0.3 s, J only
`b@y.test` and `@good.test` accepted, U no SMTPUTF8 (a target that always offers it is judged by
what it offers). Letters can be joined: OW is a commit of 2.5 s.
"""

from __future__ import annotations

import abc
import contextlib
import functools
import http.client
import itertools
import json
import os
import re
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trustme

from prixfixe import __version__
from prixfixe.auth.hashes import hash_password
from prixfixe.smtp.scram import make_keys
from tests.conformance.wire import DEADLINE, Wire
from tests.support import log_records as records

__all__ = [
    "LIMIT_OCTETS",
    "PASSWORD",
    "SLOWER_THAN_IDLE",
    "USER",
    "Mailbox",
    "NotOfferedError",
    "PrixFixeTarget",
    "ProcessTarget",
    "Server",
    "Stored",
    "Target",
    "UnseenError",
]

LIMIT_OCTETS = 10000  # of configuration Z
USER, PASSWORD = "user@y.test", "correct horse"
START_SECONDS = 30.0
ROOT = Path(__file__).parents[2]
NO_ROOM = "1048576TiB"
SLOWER_THAN_IDLE = "2.5"  # seconds, of configuration OW


class NotOfferedError(Exception):
    """This target cannot be had in this configuration."""


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
        wire = self.connect(window=window)
        wire.reply()
        return wire

    def hello(self, window: int = 0) -> Wire:
        """Open a connection up to the answer to EHLO."""
        wire = self.greeted(window)
        wire.ask(b"EHLO c.test\r\n")
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
    ) -> Any:
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

    def runs(self, verb: str) -> int:
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
        return trustme.CA()

    @functools.cached_property
    def certificate(self) -> tuple[Path, Path]:
        """The paths of a certificate for localhost and its key."""
        issued = self._authority.issue_cert("localhost", "127.0.0.1")
        paths = self.folder / "tls.pem", self.folder / "tls.key"
        paths[0].write_bytes(b"".join(one.bytes() for one in issued.cert_chain_pems))
        paths[1].write_bytes(issued.private_key_pem.bytes())
        return paths

    def trust(self) -> ssl.SSLContext:
        """Return a client's context that trusts the certificate."""
        context = ssl.create_default_context()
        self._authority.configure_trust(context)
        return context


class ProcessServer(Server):
    """A server in a process of its own that writes a ready line."""

    def __init__(self, command: list[str], environ: dict[str, str], folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.log_path = folder / "log"
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT), **environ},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.pid = self.process.pid
        self.ready = self._read_ready()
        self.port = int(self._fact("smtp").rpartition(":")[2])
        smtps = self._fact("smtps")
        self.tls_port = int(smtps.rpartition(":")[2]) if smtps else None

    def _read_ready(self) -> str:
        until = time.monotonic() + START_SECONDS
        while self.process.poll() is None and time.monotonic() < until:
            found = re.search(r"^\w+ ready .*\n", self.logs(), re.MULTILINE)
            if found is not None:
                return found[0]
            time.sleep(0.02)
        self.process.kill()
        self.process.wait()
        msg = f"no ready line; it wrote: {self.logs()[-2000:]}"
        raise RuntimeError(msg)

    def _fact(self, name: str) -> str:
        found = re.search(rf"\b{name}=(\S+)", self.ready)
        return found[1] if found else ""

    def logs(self) -> str:
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def stop(self, number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(START_SECONDS)


class Mailbox(Server):
    """A server read through PrixFixe's HTTP API; `http` is set by who knows the port."""

    http: http.client.HTTPConnection
    patience = DEADLINE

    def _ask(self, method: str, path: str) -> bytes:
        # The server may have ended an idle connection between two cases.
        for is_last in (False, True):
            try:
                self.http.request(method, path if path[0] == "/" else f"/api/v1/{path}")
                answer = self.http.getresponse()
                octets = answer.read()
                break
            except (http.client.HTTPException, ConnectionError):
                self.http.close()
                if is_last:
                    raise
        if answer.status != 200:
            msg = f"{method} {path}: {answer.status} {octets!r:.200}"
            raise RuntimeError(msg)
        return octets

    def sessions(self) -> int:
        text = self._ask("GET", "/metrics").decode()
        active = re.findall(r"^prixfixe_smtp_connections_active{.*} (\d+)", text, re.MULTILINE)
        return sum(map(int, active))

    def runs(self, verb: str) -> int:
        text = self._ask("GET", "/metrics").decode()
        counted = re.findall(
            rf'^prixfixe_smtp_commands_total{{.*verb="{verb}".*}} (\d+)', text, re.MULTILINE
        )
        return sum(map(int, counted))

    def clear(self) -> None:
        self._ask("DELETE", "messages")

    def messages(self) -> list[Stored]:
        page = json.loads(self._ask("GET", "messages?limit=1000"))
        return [self._message(one["ID"]) for one in reversed(page["messages"])]

    def _message(self, name: str) -> Stored:
        facts = json.loads(self._ask("GET", f"message/{name}/envelope"))
        raw = self._ask("GET", f"message/{name}/raw")
        return Stored(
            facts["From"],
            tuple(one["Address"] for one in facts["To"]),
            raw[len(raw) - facts["Size"] :],
            raw,
            facts,
        )


class PrixFixeProcess(Mailbox, ProcessServer):
    """PrixFixe as a process."""

    def __init__(self, command: list[str], environ: dict[str, str], folder: Path) -> None:
        super().__init__(command, environ, folder)
        self.http = http.client.HTTPConnection(self._fact("http"), timeout=START_SECONDS)

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.http.close()
        code = super().stop(number)
        faults = records.faults_of_output(self.logs())
        if faults:
            raise RuntimeError("\n".join(faults))
        return code


class PrixFixeTarget(Target):
    """What configuration letters mean in PrixFixe's settings."""

    is_strict = True

    def settings(self, config: str) -> dict[str, str]:
        """Return the variables that make a configuration."""
        environ: dict[str, str] = {}
        for letter in config:
            environ |= self._letter(letter)
        if {"O", "W"} <= set(config):
            environ["SLOW_SECONDS"] = SLOWER_THAN_IDLE
        return environ

    def _letter(self, letter: str) -> dict[str, str]:
        return {
            "Z": lambda: {"SMTP_MAX_MESSAGE_SIZE": str(LIMIT_OCTETS)},
            "T": self._tls,
            "R": lambda: {**self._tls(), "SMTP_TLS": "required"},
            "I": lambda: {**self._tls(), "SMTP_TLS_PORT": "0"},
            "A": lambda: {**self._auth(), "SMTP_AUTH_INSECURE": "true"},
            "K": lambda: {**self._auth("keys", make_keys), "SMTP_AUTH_INSECURE": "true"},
            "S": lambda: {**self._tls(), **self._auth()},
            "O": lambda: {"SMTP_TIMEOUT": "1.5"},
            "E": lambda: {"SMTP_STORE_MIN_FREE": NO_ROOM},
            "B": lambda: {"FAULT": "text"},
            "W": lambda: {"FAULT": "slow"},
            "J": lambda: {"SMTP_RECIPIENTS": "b@y.test,@good.test"},
            "L": lambda: {"SMTP_BARE_LF": "accept"},
        }.get(letter, dict)()

    def _tls(self) -> dict[str, str]:
        certificate, key = self.certificate
        return {"SMTP_TLS_CERT": str(certificate), "SMTP_TLS_KEY": str(key)}

    def _auth(
        self, name: str = "users", made: Callable[[str], str] = hash_password
    ) -> dict[str, str]:
        path = self.folder / name
        if not path.exists():
            path.write_text(f"{USER}:{made(PASSWORD)}\n", encoding="utf-8")
        return {"SMTP_AUTH": "optional", "SMTP_AUTH_USERS": str(path)}


class ProcessTarget(PrixFixeTarget):
    """`prixfixe serve` on free ports of the loopback."""

    name, title, version = "prixfixe", "PrixFixe", __version__

    def start(self, config: str) -> Server:
        number = len(list(self.folder.glob(f"{config}-*")))
        folder = self.folder / f"{config}-{number}"
        environ = self._environ(folder) | self.settings(config)
        module = "tests.conformance.faulty" if set(config) & set("WB") else "prixfixe"
        return PrixFixeProcess([sys.executable, "-m", module, "serve"], environ, folder)

    def _environ(self, folder: Path) -> dict[str, str]:
        return {
            "SMTP_BIND": "127.0.0.1",
            "SMTP_PORT": "0",
            "SMTP_HTTP_PORT": "0",
            "SMTP_STORE": f"sqlite:{folder / 'mail.db'}",
            "SMTP_STORE_MIN_FREE": "0",
            "SMTP_LOG_LEVEL": "debug",
        }
