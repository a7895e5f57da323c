"""`python -m tests.bench.handlers`: aiosmtpd's controller against ours, with the same handlers.

Both serve the same client, in turns: four connections that send message after message, the envelope
in one write. Messages are
divided by the processor time of the server: that is what one core serves, however slow the client
and however busy the machine is.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

__all__ = ["main"]

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
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _rate(server: subprocess.Popen[str], port: int, body: bytes, seconds: float) -> float:
    """Return messages for each second of the server's processor time."""
    before = _processor_seconds(server.pid)
    sent = asyncio.run(_load(port, body, seconds))
    return sent / max(_processor_seconds(server.pid) - before, 0.01)


def _serve(module: str, handler: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SERVER, module, handler],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def main(seconds: float = 2.0) -> None:
    """Print a table of messages a second of one core, the median of the rounds."""
    print("| handler | size | aiosmtpd | PrixFixe | factor |\n|---|---|---|---|---|")
    for handler in ("Sink", "Keep"):
        servers = {name: _serve(module, handler) for name, module in MODULES.items()}
        ports = {name: int(one.stdout.readline()) for name, one in servers.items()}
        for size, octets in SIZES.items():
            lines = (b"x" * 76 + b"\r\n") * (octets // 78)
            rates = {name: [] for name in servers}
            for _ in range(ROUNDS):
                for name, port in ports.items():
                    body = lines + b".\r\n"
                    rates[name].append(_rate(servers[name], port, body, seconds))
            one, two = (statistics.median(rates[name]) for name in MODULES)
            print(f"| `{handler}` | {size} | {one:,.0f} | {two:,.0f} | {two / one:.1f} |")
        for server in servers.values():
            server.communicate()


if __name__ == "__main__":
    main()
