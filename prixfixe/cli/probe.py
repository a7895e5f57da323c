"""Ask a running server whether it is ready, and whether it speaks SMTP.

No mail is sent. The probe announces its source port to `/readyz` first, so that the server does not
count it as a client. It runs every few seconds in the container, so it imports little.
"""

from __future__ import annotations

import errno
import os
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from prixfixe.settings.parse import Network

    Show = Callable[[str], object]

__all__ = ["CheckError", "Targets", "no_output", "probe"]

Address = tuple[str, int]

_MAX_ANSWER_OCTETS = 65536
_MAX_LINE = 200


class CheckError(Exception):
    """The server is not ready; the text is the reason in one line."""


class _UnreachableError(CheckError):
    """No server listens at the address; another address of the name may work."""


class Targets(NamedTuple):
    """The addresses to probe. `http` is None if it is off.

    `is_here` means that the addresses are this machine's. `proxies` are the networks whose clients
    must send a PROXY header; the probe sends one if it could not be announced.
    """

    smtp: Address
    http: Address | None = None
    is_here: bool = False
    proxies: tuple[Network, ...] = ()


def no_output(_line: str) -> None:
    """Ignore a line of the server."""


def probe(where: Targets, timeout: float, show: Show = no_output) -> None:
    """Probe once, in at most `timeout` seconds, and pass each line of the server to `show`.

    Raises:
        CheckError: the server is not ready.

    """
    deadline = time.monotonic() + timeout
    unreachable = _UnreachableError(f"SMTP: {where.smtp[0]} has no address")
    for address in _addresses(where.smtp, "SMTP"):
        try:
            return _probe_one(where._replace(smtp=address), deadline, show)
        except _UnreachableError as error:
            unreachable = error
    raise unreachable


def _addresses(address: Address, what: str) -> list[Address]:
    host, port = address
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        msg = f"{what}: {host}: {error.strerror or error}"
        raise CheckError(msg) from error
    return [(str(entry[4][0]), port) for entry in found]


def _probe_one(where: Targets, deadline: float, show: Show) -> None:
    with _bound_socket(where.smtp[0], is_here=where.is_here) as smtp:
        port = smtp.getsockname()[1]
        if where.http is not None:
            _ask_readiness(where.http, port, deadline, show, is_here=where.is_here)
        _connect(smtp, where.smtp, deadline, "SMTP")
        is_announced = where.http is not None and port != 0
        if not is_announced and _is_proxy(smtp.getsockname()[0], where.proxies):
            _send(smtp, "PROXY UNKNOWN\r\n", "SMTP")
        _converse(smtp, deadline, show)


def _bound_socket(host: str, *, is_here: bool) -> socket.socket:
    """Return a socket with a loopback source port, or port 0 if loopback cannot reach the host.

    Linux lets 127.0.0.1 connect to any IPv4 address of the machine, but not ::1 to any IPv6 one.
    """
    is_ipv6 = ":" in host
    sock = socket.socket(socket.AF_INET6 if is_ipv6 else socket.AF_INET, socket.SOCK_STREAM)
    if _is_loopback(host) or (is_here and not is_ipv6):
        with suppress(OSError):  # Without a loopback address, the probe counts as a client.
            sock.bind(("::1" if is_ipv6 else "127.0.0.1", 0))
    return sock


def _is_loopback(host: str) -> bool:
    return host == "::1" or host.startswith("127.")


def _is_proxy(source: str, proxies: tuple[Network, ...]) -> bool:
    if not proxies:
        return False
    from ipaddress import ip_address

    return any(ip_address(source) in network for network in proxies)


# --- HTTP


def _ask_readiness(
    address: Address, port: int, deadline: float, show: Show, *, is_here: bool
) -> None:
    """Announce the source port of the SMTP connection, and check that the server is ready."""
    path = f"/readyz?probe={port}" if port else "/readyz"
    with _http_connection(address, deadline, is_here=is_here) as http:
        request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        _send(http, request, "HTTP")
        answer = _read(http, deadline, "HTTP", _is_end)
    head, _, body = answer.partition(b"\r\n\r\n")
    status = _one_line(head.partition(b"\r\n")[0])
    show(status if show is no_output else status + _server_name(body))
    if status.split(" ")[1:2] != ["200"]:
        msg = f"not ready: {_failing(body) or status or 'HTTP: no answer'}"
        raise CheckError(msg)


def _http_connection(address: Address, deadline: float, *, is_here: bool) -> socket.socket:
    """Connect to the first address of the name at which a server listens."""
    unreachable = _UnreachableError(f"HTTP: {address[0]} has no address")
    for candidate in _addresses(address, "HTTP"):
        http = _bound_socket(candidate[0], is_here=is_here)
        try:
            _connect(http, candidate, deadline, "HTTP")
            return http
        except _UnreachableError as error:
            http.close()
            unreachable = error
    raise CheckError(str(unreachable))


def _is_end(octets: bytes) -> bool:
    """Whether the body has its Content-Length; without one, the end of the connection ends it."""
    head, blank, body = octets.partition(b"\r\n\r\n")
    length = head.lower().partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0].strip()
    return bool(blank) and length.isdigit() and len(body) >= int(length)


def _server_name(body: bytes) -> str:
    """Return which server answered, in parentheses: it may be an unexpected one."""
    import json

    try:
        told = json.loads(body)
        return " " + _one_line(f"(prixfixe {told['version']}, store {told['store']})".encode())
    except (ValueError, LookupError, TypeError):
        return ""


def _failing(body: bytes) -> str:
    """Return the failing checks with their reasons, or the body as text if it has none."""
    import json  # only a failure needs it

    try:
        checks = json.loads(body)["checks"]
        failing = [f"{name}: {one['detail']}" for name, one in checks.items() if not one["ok"]]
    except (ValueError, LookupError, TypeError, AttributeError):
        return _one_line(body)
    return _one_line("; ".join(failing).encode())


# --- SMTP


def _converse(smtp: socket.socket, deadline: float, show: Show) -> None:
    """Do the shortest session: greeting, EHLO, QUIT."""
    _expect(smtp, deadline, "220", "greeting", show)
    for command, code in (("EHLO localhost", "250"), ("QUIT", "221")):
        _send(smtp, f"{command}\r\n", f"SMTP {command}")
        _expect(smtp, deadline, code, command, show)


def _expect(smtp: socket.socket, deadline: float, code: str, stage: str, show: Show) -> None:
    reply = _read(smtp, deadline, f"SMTP {stage}", _is_reply)
    last = _one_line(reply.rstrip(b"\r\n").rpartition(b"\n")[2])
    show(last)
    if not (last.startswith(code) and _is_reply(reply)):
        got = repr(last) if reply else "end of connection"
        msg = f"SMTP {stage}: expected a line with {code}, got {got}"
        raise CheckError(msg)


def _is_reply(octets: bytes) -> bool:
    """Whether the last line of a reply, the one without a hyphen, is complete."""
    last = octets.rpartition(b"\n")[0].rpartition(b"\n")[2]
    return octets.endswith(b"\n") and last[3:4] != b"-"


# --- both


def _connect(sock: socket.socket, address: Address, deadline: float, what: str) -> None:
    """Connect, but not to the socket itself.

    If no server listens at a port from the kernel's range for clients, the kernel may give that
    port to `sock`. TCP then connects the socket with itself (RFC 9293, 3.5).
    """
    sock.settimeout(_seconds_until(deadline, what))
    try:
        sock.connect(address)
        if sock.getsockname() == sock.getpeername():
            raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
    except OSError as error:
        msg = f"{what}: cannot connect to {address[0]} port {address[1]}: {error.strerror or error}"
        raise _UnreachableError(msg) from error


def _send(sock: socket.socket, text: str, what: str) -> None:
    """Send; if the server hung up, raise `CheckError`, not the error of a broken output pipe."""
    try:
        sock.sendall(text.encode("ascii"))
    except OSError as error:
        msg = f"{what}: {error.strerror or error}"
        raise CheckError(msg) from error


def _read(
    sock: socket.socket, deadline: float, what: str, is_whole: Callable[[bytes], bool]
) -> bytes:
    octets = b""
    while len(octets) < _MAX_ANSWER_OCTETS and not is_whole(octets):
        sock.settimeout(_seconds_until(deadline, what))
        try:
            part = sock.recv(4096)
        except OSError as error:
            reason = "no answer in time" if isinstance(error, TimeoutError) else error.strerror
            msg = f"{what}: {reason}"
            raise CheckError(msg) from error
        if not part:
            break
        octets += part
    return octets


def _seconds_until(deadline: float, what: str) -> float:
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        msg = f"{what}: no answer in time"
        raise CheckError(msg)
    return seconds


def _one_line(octets: bytes) -> str:
    """Return the beginning of an answer as one line that is safe on a terminal."""
    text = " ".join(octets[: 4 * _MAX_LINE].decode("utf-8", "replace").split())[:_MAX_LINE]
    return "".join(letter if letter.isprintable() else "?" for letter in text)
