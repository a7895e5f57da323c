"""Thousands of SMTP clients that connect and then do nothing, in a container of their own.

Each has read its greeting before `inside` returns, and an answer to NOOP and QUIT before `leave`
does. They reach the server through an internal network, because Docker's proxy for a published port
takes six descriptors for each connection.
"""

import json

from tests.container.box import PYTHON
from tests.container.waiting import eventually

__all__ = ["Idlers"]

PROGRAM = r"""
import asyncio, collections, json, signal, sys

def tell(what, replies):
    print(json.dumps([what, collections.Counter(one[:3].decode() for one in replies)]), flush=True)

async def enter(gate, host):
    async with gate:
        reader, writer = await asyncio.open_connection(host, 2525)
        return reader, writer, await reader.readline()

async def ask(reader, writer, line):
    writer.write(line)
    return await reader.readline()

async def main(host, count):
    leave = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, leave.set)
    gate = asyncio.Semaphore(500)
    crowd = await asyncio.gather(*(enter(gate, host) for _ in range(count)))
    tell("inside", [greeting for _, _, greeting in crowd])
    await leave.wait()
    for line in (b"NOOP\r\n", b"QUIT\r\n"):
        replies = [ask(reader, writer, line) for reader, writer, _ in crowd]
        tell(line[:4].decode(), await asyncio.gather(*replies))

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


class Idlers:
    """So many clients of a server; `start` gives containers, `network` has server and clients."""

    def __init__(self, start, network, host, count):
        self._count = count
        self._box = start(
            entrypoint=[PYTHON, "-IBc"],
            command=[PROGRAM, host, str(count)],
            network=network,
            volume=None,
            ports=(),
            is_awaited=False,
            healthcheck={"test": ["NONE"]},
        )
        self._box.is_trouble_expected = True  # it is not a server

    def inside(self):
        """Wait until all are greeted."""
        assert self._said("inside") == {"220": self._count}

    def leave(self):
        """Let each ask for something, and say goodbye."""
        self._box.signal("SIGUSR1")
        assert self._said("NOOP") == {"250": self._count}
        assert self._said("QUIT") == {"221": self._count}
        assert self._box.exit_code() == 0

    def _said(self, what):
        def found():
            assert self._box.container.status in ("created", "running", "exited"), self._box.logs()
            said = [json.loads(line) for line in self._box.logs().splitlines() if line[0] == "["]
            return dict(said).get(what)

        return eventually(found, 90, f"{what} of {self._count} clients", pause=0.2)
