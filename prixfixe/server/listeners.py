"""Listening sockets, for one address or for all of IPv4 and IPv6."""

from __future__ import annotations

import os
import socket
from typing import Any

__all__ = [
    "BACKLOG",
    "bind_socket",
    "format_address",
    "is_listening",
    "keep_replies_small",
    "keep_requests_small",
]

UNREAD_OCTETS = 65536
# The default of net.core.somaxconn. With a full queue, a connection may be lost unnoticed by both
# ends (syncookies store no state), and an SMTP client would wait for a greeting.
BACKLOG = 4096


def bind_socket(host: str, port: int) -> socket.socket:
    """Return a listening socket; an empty host means all addresses of IPv4 and IPv6.

    Port 0 is one free port for both families.

    Raises:
        OSError: the address cannot be bound; the text names address and port.

    """
    try:
        if host:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            return _listen(family, host, port)
        if socket.has_dualstack_ipv6():
            try:
                return _listen(socket.AF_INET6, "::", port, is_dual=True)
            except OSError as error:
                if error.errno not in _NO_IPV6:
                    raise
        return _listen(socket.AF_INET, "0.0.0.0", port)  # noqa: S104 - all addresses were asked for
    except OSError as error:
        where = format_address((host or "::", port))
        msg = f"cannot listen on {where}: {os.strerror(error.errno or 0)}"
        raise OSError(error.errno, msg) from error


_NO_IPV6 = (97, 99)  # EAFNOSUPPORT, EADDRNOTAVAIL: a kernel or container without IPv6


def _listen(
    family: socket.AddressFamily, host: str, port: int, *, is_dual: bool = False
) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(not is_dual))
        listener.bind((host, port))
        listener.listen(BACKLOG)
        listener.setblocking(False)  # noqa: FBT003 - the standard library's signature
    except BaseException:
        listener.close()
        raise
    return listener


def is_listening(listener: Any) -> bool:  # noqa: ANN401 - a socket, or uvloop's pseudo-socket
    """Return whether a socket is listening, according to the kernel."""
    try:
        return bool(listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    except OSError:
        return False


def format_address(address: tuple[str, int]) -> str:
    """Return `host:port`, brackets around IPv6."""
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def keep_replies_small(listener: socket.socket) -> None:
    """Limit the kernel's buffer of replies that a client does not read.

    By default it would hold 4 MiB, the replies to 50,000 commands. A batch of replies is a few KiB.
    """
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, UNREAD_OCTETS)


def keep_requests_small(listener: socket.socket) -> None:
    """Limit the kernel's buffer of requests that are not read yet: 6 MiB each by default."""
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, UNREAD_OCTETS)
