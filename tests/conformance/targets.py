"""Servers for the conformance cases: how to start one and how to read back what it stored.

It has PrixFixe as a process and the settings of the configuration letters. A server is started
once for each configuration and used again; `close` stops them all. The output of a server is in
its folder.

Letters: D default, K AUTH in clear for users with keys of SCRAM, Z a size limit of 10000,
T STARTTLS offered, R required, A AUTH in clear, S AUTH inside TLS only, I implicit TLS, C the
command line as users run it, O 1.5 s idle limit, L bare LF taken, E a full store, B a store that
fails with a text that would add reply lines, W a commit of 0.3 s, J only `b@y.test` and
`@good.test` accepted, U no SMTPUTF8 (a target that always offers it is judged by what it offers).
Letters can be joined: OW is a commit of 2.5 s.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from prixfixe import __version__
from prixfixe.auth.hashes import hash_password
from prixfixe.smtp.scram import make_keys
from prixfixe.verify.dialogue.servers import (
    LIMIT_OCTETS,
    PASSWORD,
    SLOWER_THAN_IDLE,
    USER,
    NotOfferedError,
    Server,
    Stored,
    Target,
    UnseenError,
)
from prixfixe.verify.dialogue.wire import DEADLINE
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

START_SECONDS = 30.0
ROOT = Path(__file__).parents[2]
NO_ROOM = "1048576TiB"


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
