"""The flood itself: many connections that send one thing, in a process of its own.

It is given one flood as JSON and writes two lines of JSON: `{"inside": N}` when the
connections are made, then its counts. It needs the standard library only, ends by itself when its
seconds are over, counted from when all are in, and goes to loopback addresses alone.
"""

import asyncio
import contextlib
import ipaddress
import itertools
import json
import socket
import ssl
import sys
import time
from collections import Counter

__all__ = ["BIG", "STARTTLS", "main"]

BIG = "<big>"  # in the opening: the id of a large message, each connection the next one's
STARTTLS = "<starttls>"  # a step of the opening: shake hands here
_WRITE_OCTETS = 1 << 16
_READ_OCTETS = 1 << 18
_ENTER_SECONDS = 5.0
_AT_ONCE = (
    50  # connections being made: more than the listener's backlog holds would be the kernel's
)
_PLACE_SECONDS = 0.01  # between two connections of one place


class Flood:
    """One flood under way: what is sent, until when, and the counts of all connections."""

    def __init__(self, spec):
        self.spec = spec
        self.until = time.monotonic() + _ENTER_SECONDS + spec["seconds"]
        self._bigs = itertools.cycle(spec["bigs"] or [""])
        self.counts = Counter(opened=0, inside=0, closed=0, refused=0, sent=0, received=0)
        self.gate = asyncio.Semaphore(_AT_ONCE)
        self.block = self._block(spec["repeat"].encode("latin-1"))
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.context.check_hostname = False
        self.context.verify_mode = ssl.CERT_NONE

    def _block(self, repeat):
        """Return what one write sends: much where the pace is the server's."""
        is_fast = not (self.spec["piece"] or self.spec["pause"])
        times = -(-_WRITE_OCTETS // len(repeat)) if is_fast and repeat else 1
        return repeat * times

    @property
    def is_over(self):
        return time.monotonic() >= self.until

    async def place(self):
        """Keep one connection open, and open it anew where the flood does so."""
        while not self.is_over:
            with contextlib.suppress(OSError, EOFError, asyncio.IncompleteReadError):
                await self._connection()
            if not self.spec["reopen"]:
                return
            await asyncio.sleep(max(self.spec["pause"], _PLACE_SECONDS))

    async def _connection(self):
        self.counts["opened"] += 1
        is_inside = False
        async with self.gate:
            wire = await self._connected()
        try:
            await self._open(wire)
            self.counts["inside"] += 1
            is_inside = True
            await self._flood(wire)
        finally:
            self.counts["closed" if is_inside else "refused"] += not self.is_over
            wire[1].transport.abort()

    async def _connected(self):
        connection = socket.socket()
        connection.setblocking(False)
        if self.spec["window"]:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.spec["window"])
        try:
            await asyncio.get_running_loop().sock_connect(connection, tuple(self.spec["address"]))
            tls = {"ssl": self.context, "server_hostname": "localhost"} if self.spec["tls"] else {}
            limit = _READ_OCTETS if self.spec["read"] < 0 else 1024
            return await asyncio.open_connection(sock=connection, limit=limit, **tls)
        except BaseException:
            connection.close()
            raise

    async def _open(self, wire):
        """Say what comes before the flood, each step when the one before was answered."""
        reader, writer = wire
        big = next(self._bigs)
        for send, wait in self.spec["opening"]:
            if send == STARTTLS:
                await writer.start_tls(self.context, server_hostname="localhost")
                continue
            writer.write(send.replace(BIG, big).encode("latin-1"))
            if wait:
                answer = await reader.readuntil(wait.encode())
                self.counts["received"] += len(answer)

    async def _flood(self, wire):
        """Read and write side by side, each at its pace, until one of them is over."""
        tasks = [asyncio.create_task(self._write(wire[1]))]
        if self.spec["read"]:
            tasks.append(asyncio.create_task(self._read(wire[0])))
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _write(self, writer):
        sent, limit = 0, self.spec["octets"]
        writer.transport.set_write_buffer_limits(high=_WRITE_OCTETS)
        while self.block and not self.is_over and not (limit and sent >= limit):
            for piece in self._pieces():
                writer.write(piece)
                sent += len(piece)
                self.counts["sent"] += len(piece)
                await writer.drain()
                await asyncio.sleep(self.spec["pause"])
        await self._written(writer)

    def _pieces(self):
        size = self.spec["piece"] or len(self.block)
        return (self.block[at : at + size] for at in range(0, len(self.block), size))

    async def _written(self, writer):
        """Do what follows the last octet: nothing until the end, or the end of a direction."""
        if self.spec["finish"] == "close":
            return
        if self.spec["finish"] == "half":
            writer.write_eof()
        await asyncio.sleep(max(0.0, self.until - time.monotonic()))

    async def _read(self, reader):
        size = self.spec["read"]
        while octets := await reader.read(_READ_OCTETS if size < 0 else size):
            self.counts["received"] += len(octets)
            if size > 0:
                await asyncio.sleep(self.spec["pause"])


async def _run(spec):
    flood = Flood(spec)
    places = [asyncio.create_task(flood.place()) for _ in range(spec["connections"])]
    enter_until = time.monotonic() + _ENTER_SECONDS
    while flood.counts["inside"] < spec["connections"] and time.monotonic() < enter_until:
        await asyncio.sleep(0.01)
    flood.until = time.monotonic() + spec["seconds"]
    _tell({"inside": flood.counts["inside"]})
    await asyncio.wait(places, timeout=max(0.0, flood.until - time.monotonic()))
    for place in places:
        place.cancel()
    await asyncio.gather(*places, return_exceptions=True)
    _tell(flood.counts)


def _tell(counts):
    sys.stdout.write(json.dumps(counts) + "\n")
    sys.stdout.flush()


def main(text):
    """Carry out the flood of this JSON.

    Raises:
        ValueError: its address is not of this machine alone.

    """
    spec = json.loads(text)
    if not ipaddress.ip_address(spec["address"][0]).is_loopback:
        raise ValueError(f"{spec['address'][0]} is not a loopback address")
    asyncio.run(_run(spec))


if __name__ == "__main__":
    main(sys.argv[1])
