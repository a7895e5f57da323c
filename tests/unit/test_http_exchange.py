"""HTTP/1.1 between a socket and an ASGI application (RFC 9112, ASGI 3)."""

import asyncio
import contextlib
import logging
import socket
from types import SimpleNamespace

import pytest

from prixfixe.http import connection
from prixfixe.http import wire as http_wire
from prixfixe.http.connection import Connections, HttpConnection
from prixfixe.http.turns import READ_OCTETS, Turns
from tests.conftest import PATIENCE, Wire, until

GET = b"GET /a%20b?c=d HTTP/1.1\r\nHost: x\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\n"
METRICS = SimpleNamespace(http_connection=lambda result: None)


@pytest.fixture
async def serve(wires):
    """Serve an application; yield its connections and a way to open one."""
    servers = []

    async def serve(app):
        loop, connections = asyncio.get_running_loop(), Connections()
        turns = Turns(loop)

        def make():
            return http_wire.Wire(HttpConnection(app, connections, METRICS, loop), turns, loop)

        server = await loop.create_server(make, sock=small(socket.socket(), ("127.0.0.1", 0)))
        servers.append((server, connections))

        async def connect(octets=b""):
            client = small(socket.socket())
            client.setblocking(False)
            await loop.sock_connect(client, server.sockets[0].getsockname())
            one = Wire(*await asyncio.open_connection(sock=client, limit=4096))
            wires.append(one)
            await one.send(octets)
            return one

        return connections, connect

    yield serve
    for server, connections in servers:
        server.close()
        await connections.finish(0)


def small(sock, address=None):
    """Have the kernel hold little, and bind the socket to an address."""
    for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        sock.setsockopt(socket.SOL_SOCKET, option, 16384)
    if address is not None:
        sock.bind(address)
    return sock


async def answer(wire):
    """Return the head and the body of an answer with a Content-Length."""
    head = await asyncio.wait_for(wire.reader.readuntil(b"\r\n\r\n"), PATIENCE)
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    return head, await asyncio.wait_for(wire.reader.readexactly(length), PATIENCE)


async def reply(send, body=b"ok", status=200):
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def hello(_scope, _receive, send):
    await reply(send)


async def echo(_scope, receive, send):
    """Answer with the body."""
    body, has_more = b"", True
    while has_more:
        event = await receive()
        body, has_more = body + event["body"], event["more_body"]
    await reply(send, body)


async def never(_scope, receive, _send):
    """Answer nothing; wait for the end."""
    while (await receive())["type"] != "http.disconnect":
        pass


# --- requests


async def test_an_application_is_told_of_the_request(serve):
    seen = []

    async def app(scope, _receive, send):
        seen.append(scope)
        await reply(send)

    _, connect = await serve(app)
    wire = await connect(GET + b"X-Name: Value\r\n\r\n")
    await answer(wire)
    (scope,) = seen
    client, server = (wire.writer.get_extra_info(name) for name in ("sockname", "peername"))
    assert (scope["client"], scope["server"]) == (client, server)
    assert {k: scope[k] for k in ("type", "http_version", "scheme", "method", "path")} == {
        "type": "http",
        "http_version": "1.1",
        "scheme": "http",
        "method": "GET",
        "path": "/a b",
    }
    assert (scope["raw_path"], scope["query_string"]) == (b"/a%20b", b"c=d")
    assert scope["headers"] == [(b"host", b"x"), (b"x-name", b"Value")]


@pytest.mark.parametrize(
    ("head", "body"),
    [
        (b"Content-Length: 5\r\n\r\n", b"abcde"),
        (b"Transfer-Encoding: chunked\r\n\r\n", b"2\r\nab\r\n3;x=y\r\ncde\r\n0\r\nZ: z\r\n\r\n"),
    ],
)
async def test_a_body_comes_however_it_is_framed_and_cut(serve, head, body):
    _, connect = await serve(echo)
    wire = await connect(POST + head)
    for octet in body:
        await wire.send(bytes([octet]))
        await asyncio.sleep(0)
    assert (await answer(wire))[1] == b"abcde"


async def test_a_large_body_waits_for_the_application(serve):
    go = asyncio.Event()

    async def slow(scope, receive, send):
        await go.wait()
        await echo(scope, receive, send)

    connections, connect = await serve(slow)
    body = b"x" * 1_000_000
    wire = await connect()
    sending = asyncio.create_task(wire.send(POST + b"Content-Length: 1000000\r\n\r\n" + body))
    await until(lambda: any(one.wire._is_held for one in connections.all))
    (one,) = connections.all
    held = len(one._exchange._body)
    assert held <= 64 * 1024 + READ_OCTETS
    go.set()
    assert (await answer(wire))[1] == body
    await sending


@pytest.mark.parametrize(("app", "is_told"), [(echo, True), (hello, False)])
async def test_a_body_is_asked_for_if_it_is_wanted(serve, app, is_told):
    _, connect = await serve(app)
    wire = await connect(POST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    line = await asyncio.wait_for(wire.reader.readline(), PATIENCE)
    assert line.split()[1] == (b"100" if is_told else b"200")
    if is_told:
        await asyncio.wait_for(wire.reader.readline(), PATIENCE)
        await wire.send(b"hi")
        assert (await answer(wire))[1] == b"hi"


async def test_what_is_no_request_is_refused_in_json(serve, caplog):
    _, connect = await serve(hello)
    wire = await connect(b"MAIL FROM:<a@b>\r\n\r\n")
    head, body = await answer(wire)
    assert (head.split()[1], body) == (b"400", b'{"Error":"Invalid HTTP request received."}\n')
    assert await wire.rest() == b""
    assert [one.levelname for one in caplog.records] == ["WARNING"]


async def test_a_client_that_goes_is_told_to_the_application(serve):
    ended = asyncio.Event()

    async def app(scope, receive, send):
        await never(scope, receive, send)
        await reply(send)  # to nobody
        ended.set()

    _, connect = await serve(app)
    wire = await connect(POST + b"Content-Length: 9\r\n\r\nabc")
    wire.close()
    await asyncio.wait_for(ended.wait(), PATIENCE)


# --- answers


async def test_answers_come_in_the_order_of_the_requests(serve):
    async def app(scope, _receive, send):
        await asyncio.sleep(0.01 if scope["path"] == "/1" else 0)
        await reply(send, scope["path"].encode())

    _, connect = await serve(app)
    wire = await connect(b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % n for n in (1, 2, 3)))
    assert [(await answer(wire))[1] for _ in range(3)] == [b"/1", b"/2", b"/3"]


async def test_head_has_no_body(serve):
    _, connect = await serve(hello)
    wire = await connect(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n" + GET + b"\r\n")
    head = await asyncio.wait_for(wire.reader.readuntil(b"\r\n\r\n"), PATIENCE)
    assert b"content-length: 2" in head.lower()
    assert (await answer(wire))[1] == b"ok"


@pytest.mark.parametrize(
    "request_",
    [GET + b"Connection: close\r\n\r\n", b"GET / HTTP/1.0\r\n\r\n"],
    ids=["close", "1.0"],
)
async def test_a_connection_ends_where_its_client_wants_it(serve, request_):
    _, connect = await serve(hello)
    wire = await connect(request_)
    head, body = await answer(wire)
    assert (b"connection: close" in head.lower(), body) == (True, b"ok")
    assert await wire.rest() == b""


async def test_a_connection_without_a_next_request_ends(serve, monkeypatch):
    monkeypatch.setattr(connection, "KEEP_ALIVE_SECONDS", 0.1)
    _, connect = await serve(hello)
    wire = await connect(GET + b"\r\n")
    await answer(wire)
    assert await wire.rest() == b""


async def test_an_answer_without_length_is_chunked_and_waits_for_its_client(serve):
    sent = 0

    async def app(_scope, _receive, send):
        nonlocal sent
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(400):
            piece = {"type": "http.response.body", "body": b"x" * 65536, "more_body": True}
            await send(piece)
            sent += 1
        await send({"type": "http.response.body"})

    connections, connect = await serve(app)
    wire = await connect(GET + b"\r\n")
    await until(lambda: any(one.stalled_seconds > 0.2 for one in connections.all))
    assert sent < 400
    (one,) = connections.all
    assert one.wire.unsent <= http_wire.HIGH_OCTETS + 65536 + 100
    head = await asyncio.wait_for(wire.reader.readuntil(b"\r\n\r\n"), PATIENCE)
    assert b"transfer-encoding: chunked" in head.lower()
    octets = 0
    while size := int(await asyncio.wait_for(wire.reader.readline(), PATIENCE), 16):
        octets += len(await asyncio.wait_for(wire.reader.readexactly(size + 2), PATIENCE)) - 2
    assert octets == 400 * 65536


async def fails(_scope, _receive, _send):
    raise ZeroDivisionError


async def fails_late(_scope, _receive, send):
    headers = [(b"content-length", b"9")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"half", "more_body": True})
    raise ZeroDivisionError


async def ends(_scope, _receive, _send):
    pass


async def ends_early(_scope, _receive, send):
    with contextlib.suppress(ZeroDivisionError):
        await fails_late(_scope, _receive, send)


async def sends_twice(_scope, _receive, send):
    await send({"type": "http.response.body", "body": b"x"})


@pytest.mark.parametrize(
    ("app", "rest"),
    [
        (fails, b'{"Error":"internal error"}\n'),
        (ends, b'{"Error":"internal error"}\n'),
        (sends_twice, b'{"Error":"internal error"}\n'),
        (fails_late, b"half"),
        (ends_early, b"half"),
    ],
)
async def test_an_application_that_fails_is_logged_and_ends_the_connection(
    serve, caplog, app, rest
):
    _, connect = await serve(app)
    wire = await connect(GET + b"\r\n")
    octets = await wire.rest()
    assert octets.split()[1] == (b"200" if rest == b"half" else b"500")
    assert rest in octets
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("prixfixe.http", logging.ERROR)


async def test_what_fails_after_its_answer_ends_no_other(serve, caplog):
    async def app(scope, _receive, send):
        if scope["path"] == "/2":
            await until(lambda: caplog.records)
        await reply(send, scope["path"].encode())
        await asyncio.sleep(0)
        raise ZeroDivisionError

    _, connect = await serve(app)
    wire = await connect(b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % n for n in (1, 2, 3)))
    assert [(await answer(wire))[1] for _ in range(3)] == [b"/1", b"/2", b"/3"]


async def test_half_an_answer_that_nobody_reads_is_cut(serve, monkeypatch):
    for name in ("REQUEST_SECONDS", "LOOK_SECONDS", "UNREAD_SECONDS"):
        monkeypatch.setattr(connection, name, 0.2)
    monkeypatch.setattr(http_wire, "LINGER_SECONDS", 0.2)
    failed = asyncio.Event()

    async def app(_scope, _receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        (one,) = connections.all
        while not one.wire.unsent:
            await send({"type": "http.response.body", "body": b"x" * 5000, "more_body": True})
            await asyncio.sleep(0.01)
        failed.set()
        raise ZeroDivisionError

    connections, connect = await serve(app)
    await connect(GET + b"\r\n")
    await asyncio.wait_for(failed.wait(), PATIENCE)
    await until(lambda: not connections.all, 5)


@pytest.mark.parametrize("bad", [b"zz\r\n", b"1;" + b"x" * 5000], ids=["chunk", "line"])
async def test_a_client_that_sends_on_after_a_refusal_gets_it(serve, bad):
    _, connect = await serve(echo)
    wire = await connect(POST + b"Transfer-Encoding: chunked\r\n\r\n" + bad)
    wire.writer.write(b"x" * 1_000_000)
    wire.writer.transport.set_write_buffer_limits(0)
    await asyncio.wait_for(wire.writer.drain(), PATIENCE)
    assert (await answer(wire))[0].split()[1] == b"400"


async def test_half_a_head_that_came_early_has_the_time_of_a_head(serve, monkeypatch):
    monkeypatch.setattr(connection, "KEEP_ALIVE_SECONDS", 0.1)
    _, connect = await serve(hello)
    wire = await connect(GET + b"\r\n" + GET[:9])
    await answer(wire)
    await asyncio.sleep(0.3)
    await wire.send(GET[9:] + b"\r\n")
    assert (await answer(wire))[1] == b"ok"


async def test_loops_of_two_threads_share_no_buffer():
    loop = asyncio.get_running_loop()
    first, second = (http_wire.Wire(None, Turns(loop), loop) for _ in range(2))
    assert first.get_buffer(-1).obj is not second.get_buffer(-1).obj


async def test_a_defect_in_one_turn_ends_no_other():
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    handled = []
    loop.set_exception_handler(lambda _loop, context: handled.append(context["exception"]))

    def fail():
        raise ZeroDivisionError

    turns = Turns(loop)
    turns.want(SimpleNamespace(cost=0.0, step=fail))
    turns.want(SimpleNamespace(cost=1.0, step=lambda: (done.set(), 0.0)))
    await asyncio.wait_for(done.wait(), PATIENCE)
    loop.set_exception_handler(None)
    assert [type(one) for one in handled] == [ZeroDivisionError]


# --- the end


async def test_the_end_waits_for_answers_and_not_for_silent_clients(serve):
    go, seen = asyncio.Event(), asyncio.Event()

    async def app(_scope, _receive, send):
        seen.set()
        await go.wait()
        await reply(send)

    connections, connect = await serve(app)
    silent, asking = await connect(), await connect(GET + b"\r\n")
    await asyncio.wait_for(seen.wait(), PATIENCE)
    await until(lambda: len(connections.all) == 2)
    finishing = asyncio.create_task(connections.finish(PATIENCE))
    assert await silent.is_cut()
    assert not finishing.done()
    go.set()
    head, body = await answer(asking)
    assert (b"connection: close" in head.lower(), body) == (True, b"ok")
    assert await asking.rest() == b""
    await asyncio.wait_for(finishing, PATIENCE)


async def test_the_end_cuts_what_takes_longer(serve, caplog):
    ended = []

    async def app(scope, receive, send):
        try:
            await never(scope, receive, send)
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    connections, connect = await serve(app)
    wire = await connect(GET + b"\r\n")
    await until(lambda: any(one.has_whole_request for one in connections.all))
    await connections.finish(0.05)
    assert await wire.is_cut()
    await until(lambda: ended)
    assert not caplog.records
