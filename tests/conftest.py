"""What all tests share: settings, a server on free ports, a client that speaks octets."""

import asyncio
import contextlib
import io
import json
import os
import socket

import hypothesis
import pytest
import uvloop

from prixfixe.connection.connection import Phase
from prixfixe.server.app import Server
from prixfixe.settings import load
from prixfixe.telemetry.log import build_log
from tests.support import log_records as records

# Machines are busy: no deadlines. Where nobody is there to look, the same examples every time.
hypothesis.settings.register_profile(
    "prixfixe",
    deadline=None,
    derandomize="CI" in os.environ,
    print_blob=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("prixfixe")

BASE = {
    "SMTP_BIND": "127.0.0.1",
    "SMTP_PORT": "0",
    "SMTP_HTTP_PORT": "off",
    "SMTP_STORE": "memory:",
    "SMTP_STORE_MIN_FREE": "0",
    "SMTP_SHUTDOWN_TIMEOUT": "5",
}
# Where a port is nobody else's: when its server has ended, another test's may be given it.
OWN_HOST = "127.0.0.2"
PATIENCE = 30.0  # seconds for what happens at once, on a machine that may stop for some of them


@pytest.fixture
def closed_port():
    """A port of 127.0.0.1 that refuses connections as long as the test runs: taken, not listening."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


class Wire:
    """A client that sends octets and reads replies, with a deadline on everything."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    async def send(self, octets):
        self.writer.write(octets)
        await self.writer.drain()

    async def reply(self):
        """Read one reply, all its lines."""
        lines = b""
        while True:
            line = await asyncio.wait_for(self.reader.readline(), PATIENCE)
            lines += line
            if line[3:4] != b"-":
                return lines

    async def ask(self, octets, count=1):
        """Send, and return the codes of that many replies."""
        await self.send(octets)
        return [int((await self.reply() or b"0")[:3]) for _ in range(count)]

    async def rest(self):
        """Read to the end of the connection."""
        return await asyncio.wait_for(self.reader.read(), PATIENCE)

    async def is_cut(self):
        """Wait until the server ended the connection, gently or not."""
        try:
            await self.rest()
        except ConnectionError:
            pass
        return True

    def close(self):
        self.writer.close()


class Clock:
    """The event loop as sessions see it, with a time that a test moves on."""

    def __init__(self, loop):
        self._loop, self.ahead = loop, 0.0

    def time(self):
        return self._loop.time() + self.ahead

    def __getattr__(self, name):
        return getattr(self._loop, name)


class Running:
    """A started server and the means to talk to it."""

    def __init__(self, server, bound, log):
        self.server, self.bound, self.log = server, bound, log
        self.wires = []
        self.clock = Clock(server.services.loop)
        object.__setattr__(server.services, "loop", self.clock)  # frozen for all but a test's time

    @property
    def port(self):
        return int(self.bound.smtp.rpartition(":")[2])

    @property
    def http(self):
        return f"http://{self.bound.http}"

    @property
    def messages(self):
        """What a memory store holds, oldest first."""
        reader = self.server.store.open_reader()
        return [reader.get(name) for name in reversed(reader.ids())]

    def later(self, seconds):
        """Let so much time pass for the sessions that are open; each looks at its clocks then.

        What a session is allowed can so be longer than any machine stops.
        """
        self.clock.ahead += seconds
        for connection in list(self.server.roster.connections):
            is_timed = connection._deadline._timer is not None
            if is_timed and connection.phase is not Phase.LINGERING:
                connection._check_time()

    def records(self):
        self.server._log.flush()
        return self.log.getvalue().splitlines()

    def logged(self, event):
        """Return the records of an event, oldest first."""
        return [one for one in map(json.loads, self.records()) if one["event"] == event]

    async def connect(self, *, greet=True, port=None, host="127.0.0.1"):
        wire = Wire(*await asyncio.open_connection(host, port or self.port, limit=1 << 22))
        self.wires.append(wire)
        if greet:
            assert (await wire.reply()).startswith(b"220 ")
        return wire

    async def say_hello(self):
        wire = await self.connect()
        assert await wire.ask(b"EHLO c.test\r\n") == [250]
        return wire


def pytest_asyncio_loop_factories():
    """Run tests on the event loop that users run."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
def settings():
    """Return settings from a few variables over the tests' own."""
    return lambda **variables: load({**BASE, **variables})


@pytest.fixture
async def start(settings):
    """Start servers; they are stopped when the test is over, and their logs held to the table."""
    async with contextlib.AsyncExitStack() as stack:

        async def start_one(store=None, **variables):
            text = io.StringIO()
            chosen = settings(**variables)
            log = build_log(
                "debug",
                "json",
                addresses=chosen.log_addresses,
                stream=text,
                loop=asyncio.get_running_loop(),
            )
            server = Server(chosen, log, store=store)
            bound = await server.start()

            running = Running(server, bound, text)

            async def stop():
                for wire in running.wires:
                    wire.close()
                server.hurry()
                await server.stop()
                for wire in running.wires:
                    with contextlib.suppress(OSError):
                        await wire.writer.wait_closed()
                assert records.faults_of_lines(running.records()) == []

            stack.push_async_callback(stop)
            return running

        yield start_one


@pytest.fixture
async def wires():
    """A list for clients, whose connections are closed after the test."""
    opened = []
    yield opened
    for one in opened:
        one.close()
        with contextlib.suppress(OSError):
            await one.writer.wait_closed()


async def until(condition, seconds=PATIENCE):
    """Let the loop run until something holds; fail when it does not in time."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.001)
