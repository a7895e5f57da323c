"""The clients that must be served during a flood: one that sends mail, and one that asks /livez.

Each answer is timed by itself, from the last octet sent to the last octet of the answer. What a
busy machine took is not in it: the time in which the server's thread or the client's was ready to
run and had no processor, as Linux counts it, is subtracted where that can be read. A client that is
not answered in time is a failure and no figure.
"""

import contextlib
import hashlib
import http.client
import json
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Honest", "Waits", "run_delay"]

ANSWER_SECONDS = 5.0
READ_SECONDS = 60.0


@dataclass
class Waits:
    """Seconds of every answer, the machine's part in the longest, and what went wrong."""

    smtp: list = field(default_factory=list)
    livez: list = field(default_factory=list)
    machine: float = 0.0
    failures: list = field(default_factory=list)


class Honest:
    """An honest client of one server; it remembers what was acknowledged."""

    def __init__(self, smtp, http, preface=b"", stalled=lambda: 0.0):
        self._smtp, self._http, self._preface = smtp, http, preface
        self._clock = Clock(stalled)
        self._count = 0
        self.acknowledged = {}

    # --- mail

    def visit(self, waits):
        """Send one message: connect, EHLO, MAIL, RCPT, DATA, QUIT."""
        try:
            self._visit(waits)
        except (OSError, EOFError) as error:
            waits.failures.append(f"smtp: {error!r}")

    def _visit(self, waits, octets=200):
        body = self._body(octets)
        steps = (b"EHLO honest.test", b"MAIL FROM:<h@honest.test>", b"RCPT TO:<r@honest.test>")
        with socket.create_connection(self._smtp, ANSWER_SECONDS) as wire:
            wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with wire.makefile("rb") as answers:
                talk = Talk(wire, answers, waits, self._clock)
                talk.ask(self._preface, b"220")
                for step in steps:
                    talk.ask(step + b"\r\n", b"250")
                talk.ask(b"DATA\r\n", b"354")
                reply = talk.ask(body + b".\r\n", b"250")
                self.acknowledged[reply.split()[-1].decode()] = hashlib.sha256(body).hexdigest()
                talk.ask(b"QUIT\r\n", b"221")

    def _body(self, octets):
        self._count += 1
        head = f"Subject: honest {self._count} {time.monotonic_ns()}\r\n\r\n".encode()
        return head + (b"y" * 74 + b"\r\n") * max(1, (octets - len(head)) // 76)

    def stock(self, octets):
        """Have one message of about this size kept, for answers that are large; return its id."""
        self._visit(Waits(), octets)
        return list(self.acknowledged)[-1]

    def fill_attempts(self, commands, count):
        """Break off so many transactions, each after these commands and a transcript's lines."""
        said = b"EHLO flood.test\r\n" + commands.encode("latin-1")
        for _ in range(count):
            with socket.create_connection(self._smtp, ANSWER_SECONDS) as wire:
                wire.sendall(said + b"NOOP\r\n" * 30 + b"QUIT\r\n")
                while wire.recv(65536):
                    pass

    # --- HTTP

    def ask_livez(self, waits):
        """Ask whether the server lives, on a connection of its own."""
        connection = http.client.HTTPConnection(*self._http, timeout=ANSWER_SECONDS)
        began = self._clock.now()
        try:
            with contextlib.closing(connection):
                connection.request("GET", "/livez")
                status = connection.getresponse().status
        except (OSError, http.client.HTTPException) as error:
            waits.failures.append(f"livez: {error!r}")
            return
        waits.livez.append(self._clock.since(began, waits))
        if status != 200:
            waits.failures.append(f"livez: {status}")

    def get(self, path):
        """Return an answer's body; the server is at rest."""
        connection = http.client.HTTPConnection(*self._http, timeout=READ_SECONDS)
        with contextlib.closing(connection):
            connection.request("GET", path)
            answer = connection.getresponse()
            if answer.status != 200:
                raise OSError(f"{path}: {answer.status}")
            return answer.read()

    def counted(self):
        """Return the server's metrics by series."""
        lines = self.get("/metrics").decode().splitlines()
        return {
            name: float(value)
            for name, value in (one.rsplit(" ", 1) for one in lines if not one.startswith("#"))
        }

    def lost(self):
        """Return the ids of acknowledged messages that are not kept, or not as they were sent."""
        return [one for one, digest in self.acknowledged.items() if not self._is_kept(one, digest)]

    def _is_kept(self, name, digest):
        try:
            raw = self.get(f"/api/v1/message/{name}/raw")
        except OSError:
            return False
        # What is in front of the body are trace headers.
        _, found, rest = raw.partition(b"Subject: honest ")
        return hashlib.sha256(found + rest).hexdigest() == digest

    def is_ready(self):
        """Whether the server calls itself ready."""
        with contextlib.suppress(OSError, json.JSONDecodeError):
            self.get("/readyz")
            return True
        return False


class Talk:
    """One conversation of SMTP, each answer timed."""

    def __init__(self, wire, answers, waits, clock):
        self._wire, self._answers, self._waits, self._clock = wire, answers, waits, clock

    def ask(self, octets, wanted):
        """Send, and return the last line of the answer, which must have this code."""
        self._wire.sendall(octets)
        began = self._clock.now()
        line = self._answers.readline()
        while line[3:4] == b"-":
            line = self._answers.readline()
        if not line.endswith(b"\n"):
            raise EOFError(f"the end of the connection after {octets[:20]!r}")
        self._waits.smtp.append(self._clock.since(began, self._waits))
        if not line.startswith(wanted):
            raise OSError(f"{line[:60]!r} to {octets[:20]!r}")
        return line


class Clock:
    """Time without the seconds in which who should have run was not let by the machine."""

    def __init__(self, stalled):
        self._stalled = stalled

    def now(self):
        """Return the wall's time, and for how long server and client were stalled so far."""
        return time.perf_counter(), self._stalled() + run_delay("thread-self")

    def since(self, began, waits):
        """Return the seconds since then that are not the machine's; note those that are."""
        wall, stalled = (later - early for early, later in zip(began, self.now(), strict=True))
        waits.machine = max(waits.machine, min(stalled, wall))
        return max(0.0, wall - stalled)


def run_delay(pid):
    """Return the seconds for which a process's first thread waited for a processor; 0: unknown."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0
