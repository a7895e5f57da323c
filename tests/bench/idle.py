"""Measure the memory of an open, idle connection.

Every client has had its greeting and its answer to EHLO, and is connected when memory is read. The
measurement raises `OSError` when the hard limit of open files is too low.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
from typing import TYPE_CHECKING, Any

from tests.bench.runner import rest, started

if TYPE_CHECKING:
    from tests.bench.rivals.base import Rival, Running

__all__ = ["CONNECTIONS", "per_connection"]

CONNECTIONS = 5000
_AT_ONCE = 50
_SECONDS = 120


def per_connection(rival: Rival, connections: int = CONNECTIONS) -> dict[str, Any]:
    """Return resident octets before and with so many idle sessions."""
    settings = {"SMTP_MAX_CONNECTIONS": str(connections + 100)}
    _allow_files(connections + 500)
    with started(rival, **settings) as server:
        return asyncio.run(asyncio.wait_for(_crowd(server, connections), _SECONDS))


def _allow_files(wanted: int) -> None:
    """Raise this process's limit and with it that of the server it starts, or raise `OSError`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        msg = f"{wanted} open files are wanted, {hard} are allowed"
        raise OSError(msg)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def _crowd(server: Running, connections: int) -> dict[str, Any]:
    gate = asyncio.Semaphore(_AT_ONCE)
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(_AT_ONCE):  # What the first sessions bring in for good is not theirs.
            await _enter(server, gate, stack)
        await asyncio.to_thread(rest, server)
        before = server.rss_bytes()
        entering = (_enter(server, gate, stack) for _ in range(connections))
        await asyncio.gather(*entering)
        await asyncio.to_thread(rest, server)
        return {"connections": connections, "before": before, "after": server.rss_bytes()}


async def _enter(
    server: Running, gate: asyncio.Semaphore, stack: contextlib.AsyncExitStack
) -> None:
    async with gate:
        reader, writer = await asyncio.open_connection(*server.address)
        stack.callback(writer.close)
        await reader.readuntil(b"\r\n")
        writer.write(b"EHLO bench.example.com\r\n")
        while not (await reader.readuntil(b"\r\n")).startswith(b"250 "):
            pass
