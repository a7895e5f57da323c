"""Measure what STARTTLS and AUTH add to a session, next to the cost of a TLS handshake alone.

The sessions without TLS, with STARTTLS, and with STARTTLS and AUTH take turns with handshakes on a
TLS server that does nothing else. Both servers use the same certificate. The login is one that
PrixFixe has checked before.
"""

from __future__ import annotations

import base64
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import trustme

from prixfixe.auth.hashes import hash_password
from tests.bench.rivals.ours import PrixFixe
from tests.bench.runner import started

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["main"]

ROUNDS, EACH = 7, 200
LOGIN = b"AUTH PLAIN " + base64.b64encode(b"\0ann\0secret") + b"\r\n"
HELLO = b"EHLO client.test\r\n"
MAIL = (
    b"MAIL FROM:<a@client.test>\r\n",
    b"RCPT TO:<b@server.test>\r\n",
    b"DATA\r\n",
    b"x" * 70 + b"\r\n.\r\n",
    b"QUIT\r\n",
)
BARE = """
import asyncio, ssl, sys, uvloop
async def serve():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*sys.argv[1:])
    loop = asyncio.get_running_loop()
    server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0, ssl=context)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
uvloop.run(serve())
"""


class Client:
    """Sessions with one server, each timed from connect to the end, in seconds."""

    def __init__(self, address: tuple[str, int], trust: ssl.SSLContext) -> None:
        self._address, self._trust = address, trust

    def session(self, *before: bytes) -> float:
        """Send a message, after these commands; STARTTLS among them is done."""
        began = time.perf_counter()
        with socket.create_connection(self._address, timeout=10) as plain:
            plain.recv(4096)
            wire = plain
            for command in (*before, *MAIL):
                _ask(wire, command)
                if command == b"STARTTLS\r\n":
                    wire = self._trust.wrap_socket(plain, server_hostname="localhost")
            wire.close()
        return time.perf_counter() - began

    def handshake(self) -> float:
        """Shake hands, and nothing else."""
        with socket.create_connection(self._address, timeout=10) as plain:
            began = time.perf_counter()
            with self._trust.wrap_socket(plain, server_hostname="localhost"):
                return time.perf_counter() - began


def _ask(wire: socket.socket, command: bytes) -> None:
    wire.sendall(command)
    reply = wire.recv(4096)
    if reply[:1] not in b"23":
        raise OSError(f"{command!r}: {reply!r}")


class Files:
    """Certificate, key and users in a folder; `trust` is a client's view."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        pair = authority.issue_cert("localhost")
        self.cert, self.key, self.users = (str(folder / name) for name in ("cert", "key", "users"))
        pair.cert_chain_pems[0].write_to_path(self.cert)
        pair.private_key_pem.write_to_path(self.key)
        Path(self.users).write_text(f"ann:{hash_password('secret')}\n")
        self.trust = ssl.create_default_context()
        authority.configure_trust(self.trust)

    def settings(self) -> dict[str, str]:
        """Return what makes PrixFixe offer TLS and logins."""
        pair = {"SMTP_TLS_CERT": self.cert, "SMTP_TLS_KEY": self.key}
        return {**pair, "SMTP_AUTH": "optional", "SMTP_AUTH_USERS": self.users}


@contextmanager
def bare(files: Files) -> Iterator[tuple[str, int]]:
    """Run a server that shakes hands and says nothing."""
    command = [sys.executable, "-c", BARE, files.cert, files.key]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
        try:
            yield "127.0.0.1", int(server.stdout.readline())  # type: ignore[union-attr]
        finally:
            server.terminate()


def measure(kinds: dict[str, Callable[[], float]]) -> dict[str, float]:
    """Return the median of each kind in milliseconds."""
    seconds: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(ROUNDS):
        for name, once in kinds.items():
            seconds[name] += [once() for _ in range(EACH)]
    return {name: statistics.median(each) * 1000 for name, each in seconds.items()}


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        files = Files(Path(folder))
        with started(PrixFixe("discard"), **files.settings()) as server, bare(files) as address:
            client, other = Client(server.address, files.trust), Client(address, files.trust)
            encrypted = (HELLO, b"STARTTLS\r\n", HELLO)
            client.session(*encrypted, LOGIN)  # checked once, remembered from then on
            kinds = {
                "a session in clear": lambda: client.session(HELLO),
                "with STARTTLS": lambda: client.session(*encrypted),
                "with STARTTLS and AUTH": lambda: client.session(*encrypted, LOGIN),
                "the handshake of a server that does nothing else": other.handshake,
            }
            for name, milliseconds in measure(kinds).items():
                sys.stdout.write(f"| {name} | {milliseconds:.2f} |\n")


if __name__ == "__main__":
    main()
