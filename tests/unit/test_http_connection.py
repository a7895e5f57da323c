"""HTTP clients that hold connections: the health checks are answered whatever they do."""

import asyncio
import contextlib
import resource

import pytest

from prixfixe.http import connection
from prixfixe.http import wire as http_wire
from prixfixe.server import descriptors
from tests.conftest import PATIENCE, Wire, until

READY = b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
async def serve(start, wires, monkeypatch):
    """Start servers with few HTTP connections; return also a way to open raw ones."""
    monkeypatch.setattr(connection, "MAX_CONNECTIONS", 10)

    async def serve(**variables):
        running = await start(SMTP_HTTP_PORT="0", **variables)

        async def connect():
            host, port = running.bound.http.rsplit(":", 1)
            wire = Wire(*await asyncio.open_connection(host, int(port)))
            wires.append(wire)
            return wire

        return running, connect

    return serve


async def status(wire, request=READY):
    """Ask and return the status."""
    await wire.send(request)
    head = await asyncio.wait_for(wire.reader.readuntil(b"\r\n\r\n"), PATIENCE)
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    await wire.reader.readexactly(length)
    return int(head.split()[1])


def count(running, result):
    return running.server.metrics.series()["http_connections"].counts[result,]


HOLDERS = {
    "silent": b"",
    "half a head": b"GET /readyz HTTP/1.1\r\nHost: x\r\n",
    "half a body": b"DELETE /api/v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{",
    "long poll": b"GET /api/v1/wait?query=to:nobody&timeout=300 HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("octets", HOLDERS.values(), ids=HOLDERS)
async def test_readiness_is_answered_while_others_hold_every_connection(serve, octets):
    running, connect = await serve()
    holders = [await connect() for _ in range(30)]
    for holder in holders:
        await holder.send(octets)
    for _ in range(3):
        assert await status(await connect()) == 200
    assert count(running, "replaced") >= 21


async def test_the_silent_go_before_those_who_wait_for_an_answer(serve):
    running, connect = await serve()
    waiting = await connect()
    await waiting.send(HOLDERS["long poll"].replace(b"nobody", b"b@y.test"))
    await until(lambda: running.server.arrivals._subscriptions)
    for _ in range(30):
        await connect()
    assert await status(await connect()) == 200
    smtp = await running.say_hello()
    await smtp.ask(b"MAIL FROM:<>\r\nRCPT TO:<b@y.test>\r\nDATA\r\n", 3)
    assert await smtp.ask(b"x\r\n.\r\n") == [250]
    assert (await waiting.reader.readline()).split()[1] == b"200"


@pytest.mark.parametrize("octets", [b"", b"GET / HTTP/1.1\r\nX: "], ids=["silent", "half a head"])
async def test_a_request_that_does_not_come_ends_the_connection(serve, monkeypatch, octets):
    monkeypatch.setattr(connection, "REQUEST_SECONDS", 0.3)
    running, connect = await serve()
    wire = await connect()

    async def drip():
        await wire.send(octets)
        while octets:
            await wire.send(b"x")
            await asyncio.sleep(0.05)

    task = asyncio.create_task(drip())
    assert await wire.is_cut()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert count(running, "timeout") == 1


async def test_an_answer_has_its_own_time(serve):
    running, connect = await serve()
    wire = await connect()
    poll = HOLDERS["long poll"].replace(b"nobody", b"b@y.test")
    waiting = asyncio.create_task(status(wire, poll))
    await until(lambda: running.server.arrivals.waiters)
    (one,) = running.server._http.connections.all
    one._since -= 10 * connection.REQUEST_SECONDS
    one._look()
    smtp = await running.say_hello()
    await smtp.ask(b"MAIL FROM:<>\r\nRCPT TO:<b@y.test>\r\nDATA\r\n", 3)
    assert await smtp.ask(b"x\r\n.\r\n") == [250]
    assert await waiting == 200
    assert await status(wire) == 200


async def test_an_answer_nobody_takes_ends_too(serve, monkeypatch):
    monkeypatch.setattr(connection, "REQUEST_SECONDS", 0.1)
    monkeypatch.setattr(connection, "ANSWER_SECONDS", 0.3)
    running, connect = await serve()
    wire = await connect()
    await wire.send(HOLDERS["long poll"])
    assert await wire.is_cut()
    assert count(running, "timeout") == 1


def test_all_descriptors_we_may_have_are_taken():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(512, soft), hard))
        descriptors.raise_limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


LARGE = b"POST /livez HTTP/1.1\r\nHost: x.test\r\nContent-Length: 1000000000\r\n\r\n" + b"x" * 4096


async def refused(client):
    await client.send(LARGE)
    return await asyncio.wait_for(client.reader.readuntil(b"}\n"), PATIENCE)


async def test_a_client_that_is_quiet_after_its_refusal_is_told_the_end(serve, monkeypatch):
    monkeypatch.setattr(http_wire, "LINGER_SECONDS", 3600)
    _running, connect = await serve()
    client = await connect()
    assert (await refused(client)).split()[1] == b"405"
    assert await asyncio.wait_for(client.reader.read(), PATIENCE) == b""


async def test_a_client_that_sends_on_after_its_refusal_is_not_told_the_end(serve, monkeypatch):
    # Told at once, it would come again at once, and every other client would wait behind it.
    monkeypatch.setattr(http_wire, "LINGER_SECONDS", 3600)
    monkeypatch.setattr(http_wire, "QUIET_SECONDS", 0.2)
    _running, connect = await serve()
    client = await connect()
    assert (await refused(client)).split()[1] == b"405"
    end = asyncio.create_task(client.reader.read())
    for _ in range(100):
        await client.send(b"x" * 4096)
        await asyncio.sleep(0.01)
    assert not end.done()
    monkeypatch.setattr(http_wire, "LINGER_OCTETS", 0)
    with contextlib.suppress(OSError):
        await client.send(b"x" * 4096)
        assert await asyncio.wait_for(end, PATIENCE) == b""
