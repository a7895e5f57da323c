"""`prixfixe check`: the health probe of the image.

Owns: one honest question to a running server: does it speak SMTP, and does it say it is ready?
Promises: exit 0 only when both hold; exit 1 with one line why; no mail is sent; the server counts
the probe as no client (it announces its source port to `/readyz` first).
Refuses: heavy imports; it runs every few seconds inside the container's memory limit.
"""

from __future__ import annotations

import socket
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

from prixfixe.cli.environment import settings

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

__all__ = ["CheckError", "Targets", "probe", "run", "targets"]

Address = tuple[str, int]


class CheckError(Exception):
    """The server is not well; the text says why in one line."""


class Targets(NamedTuple):
    """Where to ask; `http` is None when it is off."""

    smtp: Address
    http: Address | None
    is_probe_exempt: bool = True


def targets(args: argparse.Namespace) -> Targets:
    """Return the addresses from the arguments or the settings."""
    if args.smtp:
        return Targets(_parse(args.smtp), _parse(args.http) if args.http else None)
    effective = settings()
    if effective.port == 0 or effective.http_port == 0:
        raise CheckError("the settings ask for any free port; say which with --smtp and --http")
    http = None
    if effective.http_port is not None:
        http = (_local(effective.http_bind), effective.http_port)
    return Targets((_local(effective.bind), effective.port), http)


def _local(bind: str) -> str:
    """Return the address to reach a listener on this machine."""
    return {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(bind, bind)  # noqa: S104


def _parse(text: str) -> Address:
    host, _, port = text.removeprefix("http://").rstrip("/").rpartition(":")
    if not port.isdecimal():
        msg = f"expected HOST:PORT, not {text!r}"
        raise CheckError(msg)
    return host.strip("[]") or "127.0.0.1", int(port)


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def probe(where: Targets, timeout: float) -> list[str]:
    """Ask once, in `timeout` seconds; return what was said.

    Raises:
        CheckError: the server is not well.

    """
    deadline = time.monotonic() + timeout
    heard = []
    with socket.socket(_family(where.smtp[0]), socket.SOCK_STREAM) as smtp:
        if where.http is not None:
            heard.append(_ask_readiness(where.http, _announced(smtp, where), deadline))
        heard += _converse(smtp, where.smtp, deadline)
    return heard


def _announced(smtp: socket.socket, where: Targets) -> int:
    """Take a source port before connecting, so that it can be announced; 0 when that fails."""
    try:
        smtp.bind(("::1" if smtp.family == socket.AF_INET6 else "127.0.0.1", 0))
    except OSError:
        return 0
    is_loopback = where.smtp[0].startswith("127.") or where.smtp[0] == "::1"
    return int(smtp.getsockname()[1]) if is_loopback else 0


def _ask_readiness(address: Address, port: int, deadline: float) -> str:
    path = f"/readyz?probe={port}" if port else "/readyz"
    with socket.socket(_family(address[0]), socket.SOCK_STREAM) as http:
        _connect(http, address, deadline, "HTTP")
        request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        http.sendall(request.encode("ascii"))
        answer = _read(http, deadline, "HTTP", lambda _: False)
    head, _, body = answer.partition(b"\r\n\r\n")
    status = head.split(b"\r\n")[0].decode("ascii", "replace")
    if " 200 " not in f"{status} ":
        detail = " ".join(body.decode("utf-8", "replace").split())[:200]
        msg = f"not ready: {status}: {detail}"
        raise CheckError(msg)
    return status


def _converse(smtp: socket.socket, address: Address, deadline: float) -> list[str]:
    """Hold the shortest conversation: greeting, EHLO, QUIT."""
    _connect(smtp, address, deadline, "SMTP")
    heard = [_reply(smtp, deadline, "220", "greeting")]
    for command, code in (("EHLO localhost", "250"), ("QUIT", "221")):
        smtp.sendall(f"{command}\r\n".encode("ascii"))
        heard.append(_reply(smtp, deadline, code, command))
    return heard


def _reply(smtp: socket.socket, deadline: float, code: str, after: str) -> str:
    answer = _read(smtp, deadline, f"SMTP after {after}", _is_whole).decode("ascii", "replace")
    last = answer.rstrip("\r\n").rpartition("\n")[2].strip()
    if not last.startswith(code):
        msg = f"SMTP: expected {code} to {after}, got {last[:200]!r}"
        raise CheckError(msg)
    return last


def _is_whole(octets: bytes) -> bool:
    """Whether a reply's last line, the one without a hyphen, has come."""
    last = octets.rpartition(b"\n")[0].rpartition(b"\n")[2]
    return octets.endswith(b"\n") and last[3:4] != b"-"


def _connect(sock: socket.socket, address: Address, deadline: float, what: str) -> None:
    sock.settimeout(_left(deadline, what))
    try:
        sock.connect(address)
    except OSError as error:
        msg = f"{what}: cannot connect to {address[0]} port {address[1]}: {error.strerror or error}"
        raise CheckError(msg) from error


def _read(
    sock: socket.socket, deadline: float, what: str, is_whole: Callable[[bytes], bool]
) -> bytes:
    octets = b""
    while len(octets) < 65536:
        sock.settimeout(_left(deadline, what))
        try:
            part = sock.recv(4096)
        except OSError as error:
            reason = "no answer in time" if isinstance(error, TimeoutError) else error.strerror
            msg = f"{what}: {reason}"
            raise CheckError(msg) from error
        octets += part
        if not part or is_whole(octets):
            break
    return octets


def _left(deadline: float, what: str) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        msg = f"{what}: no answer in time"
        raise CheckError(msg)
    return left


def run(args: argparse.Namespace) -> int:
    """Probe once."""
    try:
        heard = probe(targets(args), args.timeout)
    except CheckError as error:
        print(f"prixfixe: {error}", file=sys.stderr)
        return 1
    if args.verbose:
        print("\n".join(heard))
    return 0
