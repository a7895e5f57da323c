"""`python -m tests.bench.handlers`: aiosmtpd's controller against ours, with the same handlers.

Both serve the same client, in turns: four connections that send message after message, the envelope
in one write. A message is a short header and lines of 76 letters. Messages are divided by the
processor time of the server: that is what one core serves, however slow the client and however busy
the machine is. aiosmtpd's controller runs on asyncio's own loop, as its users run it, ours on
uvloop, as it does by itself. `bare` is a protocol on uvloop that only looks for the end of a message:
no server in Python can be faster.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import time

__all__ = ["main"]

BARE = """
import asyncio, sys, uvloop
class Bare(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.turn = transport, 0
        transport.write(b"220 x\\r\\n")
    def data_received(self, data):
        if self.turn == 2 and not data.endswith(b".\\r\\n"):
            return
        self.transport.write((b"250 x\\r\\n", b"250 x\\r\\n250 x\\r\\n354 x\\r\\n", b"250 x\\r\\n")[self.turn])
        self.turn = 2 if self.turn == 1 else 1
async def main():
    server = await asyncio.get_running_loop().create_server(Bare, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
uvloop.run(main())
"""
SERVER = """
import importlib, sys
from aiosmtpd.handlers import Sink
class Keep:
    async def handle_DATA(self, server, session, envelope):
        self.last = envelope.content
        return "250 OK"
module, name = sys.argv[1:]
made = importlib.import_module(module).Controller(
    {"Sink": Sink, "Keep": Keep}[name](), hostname="127.0.0.1", port=0, ready_timeout=60)
import socket
with socket.socket() as one:
    one.bind(("127.0.0.1", 0)); made.port = one.getsockname()[1]
made.start()
print(made.port, flush=True)
sys.stdin.read()
"""
MODULES = {"aiosmtpd": "aiosmtpd.controller", "PrixFixe": "prixfixe.handlers"}
SIZES = {"1 KiB": 1024, "100 KiB": 102400}
CLIENTS, ROUNDS = 4, 3
HEADER = (
    b"From: <a@x.test>\r\nTo: <b@y.test>\r\nSubject: a message\r\nMessage-ID: <1@x.test>\r\n\r\n"
)
ENVELOPE = b"MAIL FROM:<a@x.test>\r\nRCPT TO:<b@y.test>\r\nDATA\r\n"


async def _send(port: int, body: bytes, until: float) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await reader.readline()
    writer.write(b"HELO client.test\r\n")
    await reader.readline()
    count = 0
    while time.monotonic() < until:
        for octets, replies in ((ENVELOPE, 3), (body, 1)):
            writer.write(octets)
            for _ in range(replies):
                answer = await reader.readline()
                if answer[:1] not in b"23":
                    raise RuntimeError(answer)
        count += 1
    writer.close()
    return count


async def _load(port: int, body: bytes, seconds: float) -> int:
    until = time.monotonic() + seconds
    return sum(await asyncio.gather(*(_send(port, body, until) for _ in range(CLIENTS))))


def _processor_seconds(pid: int) -> float:
    """Return the processor time of a process so far: the number of its clock is Linux's own."""
    return time.clock_gettime((~pid << 3) | 2)


def _rate(server: subprocess.Popen[str], port: int, body: bytes, seconds: float) -> float:
    """Return messages for each second of the server's processor time."""
    before = _processor_seconds(server.pid)
    sent = asyncio.run(_load(port, body, seconds))
    return sent / max(_processor_seconds(server.pid) - before, 0.01)


def _run(code: str, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *words]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _body(octets: int) -> bytes:
    return HEADER + (b"x" * 76 + b"\r\n") * (octets // 78) + b".\r\n"


def main(seconds: float = 2.0) -> None:
    """Print a table of messages a second of one core, the median of the rounds."""
    print("| handler | size | aiosmtpd | PrixFixe | factor | bare |\n|---|---|---|---|---|---|")
    for handler in ("Sink", "Keep"):
        servers = {name: _run(SERVER, module, handler) for name, module in MODULES.items()}
        servers["bare"] = _run(BARE)
        ports = {name: int(one.stdout.readline()) for name, one in servers.items()}
        for size, octets in SIZES.items():
            rates = {name: [] for name in servers}
            for _ in range(ROUNDS):
                for name, port in ports.items():
                    rates[name].append(_rate(servers[name], port, _body(octets), seconds))
            one, two, bare = (statistics.median(rates[name]) for name in servers)
            print(
                f"| `{handler}` | {size} | {one:,.0f} | {two:,.0f} | {two / one:.1f} | {bare:,.0f} |",
                flush=True,
            )
        for server in servers.values():
            server.communicate()


if __name__ == "__main__":
    main()
