"""What a request may be and an answer may hold: refusals, clocks, turns, and the shelf of copies."""

import asyncio
import contextlib
import json
import time
from types import SimpleNamespace

import pytest
from starlette.exceptions import HTTPException

from prixfixe.http import bodies, connection, pieces, shelf, turns, wire
from prixfixe.http.shelf import Shelf
from tests.conftest import PATIENCE, Wire, until

HEAD = b"%b %b HTTP/1.1\r\nHost: x\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
TEXT = b"Subject: x\r\n\r\n" + (b"x" * 76 + b"\r\n") * 50_000


@pytest.fixture
async def serve(start, wires):
    """Start a server; return also a way to open raw connections of HTTP."""

    async def serve(**variables):
        running = await start(SMTP_HTTP_PORT="0", **variables)
        host, _, port = running.bound.http.rpartition(":")

        async def connect(octets=b""):
            one = Wire(*await asyncio.open_connection(host, int(port)))
            wires.append(one)
            await one.send(octets)
            return one

        return running, connect

    return serve


async def deliver(running, body):
    smtp = await running.say_hello()
    await smtp.ask(b"MAIL FROM:<>\r\nRCPT TO:<b@y.test>\r\nDATA\r\n", 3)
    assert await smtp.ask(body + b".\r\n") == [250]


def defects(running):
    return [*running.logged("library error"), *running.logged("unexpected error")]


def connections(running):
    return running.server._http.connections.all


def count(running, result):
    return running.server.metrics.series()["http_connections"].counts.get((result,), 0)


# --- requests that are refused, and the connection with them

LARGE = b"Content-Length: 99999999\r\n\r\n"
REFUSED = {
    "both lengths": (b"GET", b"/livez", b"Content-Length: 5\r\n" + CHUNKED + b"0\r\n\r\n", 400),
    "both lengths of a DELETE": (
        *(b"DELETE", b"/api/v1/messages", b"Content-Length: 5\r\n" + CHUNKED + b"0\r\n\r\n", 400),
    ),
    "a large body that is wanted": (b"DELETE", b"/api/v1/messages", LARGE, 413),
    "a large body while one waits": (b"GET", b"/api/v1/wait?query=to:x", LARGE, 413),
    "a large body to no path": (b"POST", b"/nothing", LARGE, 404),
    "a large body to health": (b"GET", b"/livez", LARGE, 200),
    "a body that is not sent": (b"GET", b"/livez", b"Content-Length: 5\r\n\r\n", 200),
    "chunks without end": (b"GET", b"/livez", CHUNKED + b"1\r\nx\r\n", 200),
    "a long chunk extension": (
        *(b"DELETE", b"/api/v1/messages", CHUNKED + b"1;" + b"x" * 5000, 400),  # it is waited for
    ),
    "trailers": (b"DELETE", b"/api/v1/messages", CHUNKED + b"0\r\n" + b"a:\r\n" * 2000, 400),
    "many fields": (b"GET", b"/livez", b"a: b\r\n" * 150, 400),
    "a long field": (b"GET", b"/livez", b"a: " + b"b" * 20_000, 400),
    "no chunk": (b"DELETE", b"/api/v1/messages", CHUNKED + b"xyz\r\n", 400),
}


@pytest.mark.parametrize(("method", "path", "rest", "status"), REFUSED.values(), ids=REFUSED)
async def test_a_request_beyond_its_bounds_is_answered_and_closed(
    serve, method, path, rest, status
):
    running, connect = await serve()
    client = await connect(HEAD % (method, path) + rest)
    answer = await client.rest()
    assert int(answer.split()[1]) == status
    assert b"connection: close" in answer.lower()
    assert b"x-content-type-options: nosniff" in answer.lower()
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"application/json" in answer
    assert not defects(running)


async def test_chunks_that_are_wanted_are_counted_as_they_come(serve, monkeypatch):
    monkeypatch.setattr(connection, "MAX_REQUEST_OCTETS", 100_000)
    _running, connect = await serve()
    for head in (
        HEAD % (b"DELETE", b"/api/v1/messages"),
        HEAD % (b"GET", b"/api/v1/wait?query=to:x"),
    ):
        client = await connect(head + CHUNKED)
        with contextlib.suppress(OSError):
            await client.send(b"1\r\nx\r\n" * 30_000)
        assert (await client.rest()).split()[1] == b"413"


SENT = HEAD % (b"POST", b"/api/v1/send") + b"Content-Length: %d\r\n\r\n%b"
PAPER = b'{"From": {"Email": "a@x.test"}, "To": [{"Email": "b@y.test"}], "Text": "%b"}'
SMALL, LONG = PAPER % b"", PAPER % (b"y" * 900_000)


async def told(client):
    return await asyncio.wait_for(client.reader.readuntil(b"}"), PATIENCE)


async def held(connect):
    """Take all room for bodies, by clients that send no more than half of theirs."""
    chunked = (
        HEAD % (b"DELETE", b"/api/v1/messages") + CHUNKED + b"1388\r\n" + b" " * 5000 + b"\r\n"
    )
    announced = SENT % (1 << 20, b"x" * (1 << 19))
    return [await connect(one) for one in (chunked, announced, announced, announced)]


async def test_a_large_body_waits_for_room_and_a_small_one_does_not(serve, monkeypatch):
    monkeypatch.setattr(bodies, "WAIT_SECONDS", 0.2)
    _running, connect = await serve()
    await held(connect)
    small = await connect(SENT % (len(SMALL), SMALL))
    assert (await told(small)).split()[1] == b"200"
    refused = await connect(SENT % (len(LONG), b""))
    answer = await told(refused)
    assert answer.split()[1] == b"503"
    assert b"retry-after:" in answer.lower()


async def test_bodies_that_do_not_come_make_room(serve, monkeypatch):
    monkeypatch.setattr(bodies, "STALL_SECONDS", 0.05)
    monkeypatch.setattr(bodies, "LOOK_SECONDS", 0.01)
    running, connect = await serve()
    await held(connect)
    for _ in range(6):  # and those that come give theirs back
        client = await connect(SENT % (len(LONG), LONG))
        assert (await told(client)).split()[1] == b"200"
    assert 1 <= count(running, "replaced") <= 4
    assert not defects(running)


async def test_what_is_pipelined_behind_a_small_body_is_answered(serve):
    _running, connect = await serve()
    body = b"Content-Length: 2\r\n\r\n{}"
    last = HEAD % (b"GET", b"/livez") + b"Connection: close\r\n\r\n"
    client = await connect(2 * (HEAD % (b"DELETE", b"/api/v1/messages") + body) + 50 * last)
    assert (await client.rest()).count(b" 200 OK") == 3


async def test_a_client_that_leaves_within_a_body_is_no_defect(serve):
    running, connect = await serve()
    for _ in range(20):
        head = HEAD % (b"DELETE", b"/api/v1/messages") + b"Content-Length: 9\r\n\r\n{"
        client = await connect(head)
        await until(lambda: any(one.is_answering for one in connections(running)))
        client.close()
        await until(lambda: not connections(running))
    assert not defects(running)


async def test_a_look_ends_with_its_client(serve, monkeypatch):
    running, connect = await serve()
    gate = asyncio.get_running_loop().create_future()
    monkeypatch.setattr(running.server._http._mailbox, "_asked", lambda _work: gate)
    client = await connect(HEAD % (b"GET", b"/api/v1/info") + b"\r\n")
    await until(lambda: any(one.is_answering for one in connections(running)))
    client.close()
    await until(gate.cancelled)
    monkeypatch.undo()
    assert not defects(running)


# --- who goes when there are too many


async def test_unfinished_bodies_send_no_waiter_away(serve, monkeypatch):
    monkeypatch.setattr(connection, "MAX_CONNECTIONS", 10)
    running, connect = await serve()
    waiting = await connect(HEAD % (b"GET", b"/api/v1/wait?query=to:b@y.test") + b"\r\n")
    await until(lambda: running.server.arrivals.waiters)
    for _ in range(40):
        unfinished = HEAD % (b"DELETE", b"/api/v1/messages") + b"Content-Length: 99\r\n\r\n{"
        await connect(unfinished)
    await until(lambda: count(running, "replaced") >= 31)
    await deliver(running, b"x\r\n")
    assert (await waiting.reader.readline()).split()[1] == b"200"
    assert not defects(running)


def ranked(*, is_complete=False, has_more_body=False, full_since=None, waits=False, since=1.0):
    one = connection.HttpConnection(None, None, None, None)
    one._exchange = SimpleNamespace(is_complete=is_complete, has_more_body=has_more_body)
    one.wire = SimpleNamespace(full_since=full_since)
    one.waits_for_mail, one._since = waits, since
    return one.rank()


def test_who_costs_nothing_to_lose_goes_first():
    order = [
        ranked(is_complete=True),
        ranked(has_more_body=True, since=2.0),
        ranked(full_since=9.0),
        ranked(since=2.0),
        ranked(waits=True),
    ]
    assert order == sorted(order)


# --- answers


async def test_an_answer_is_cut_for_want_of_progress_only(serve, monkeypatch):
    monkeypatch.setattr(connection, "UNREAD_SECONDS", 1.0)
    monkeypatch.setattr(connection, "REQUEST_SECONDS", 0.2)
    monkeypatch.setattr(connection, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(connection, "ANSWER_SECONDS", 0.5)
    running, connect = await serve()
    await deliver(running, TEXT)
    ask = HEAD % (b"GET", b"/api/v1/message/latest/raw") + b"Connection: close\r\n\r\n"
    reading, _still = await connect(ask), await connect(ask)
    answer = b""
    while part := await asyncio.wait_for(reading.reader.read(65536), PATIENCE):
        answer += part
        await asyncio.sleep(0.04)
    assert answer.endswith(TEXT)
    await until(lambda: count(running, "timeout") == 1)


async def test_large_answers_wait_in_small_pieces(serve):
    running, connect = await serve()
    await deliver(running, TEXT)
    for path in (b"/raw", b"", b"/part/1"):
        await connect(HEAD % (b"GET", b"/api/v1/message/latest" + path) + b"\r\n")
    await until(lambda: sum(one.stalled_seconds > 0 for one in connections(running)) == 3)
    assert all(one.wire.unsent <= 4 * wire.HIGH_OCTETS for one in connections(running))


@pytest.mark.parametrize("path", [b"", b"/raw", b"/headers", b"/envelope", b"/part/1"])
async def test_what_is_deleted_is_not_shown_from_a_copy(serve, path):
    running, connect = await serve()
    await deliver(running, TEXT)
    (message,) = running.messages
    ask = HEAD % (b"GET", b"/api/v1/message/" + message.id.encode() + path)
    await connect(ask + b"\r\n")  # and never read
    last = ask + b"Connection: close\r\n\r\n"
    assert (await (await connect(last)).rest()).split()[1] == b"200"
    delete = HEAD % (b"DELETE", b"/api/v1/messages") + b"Connection: close\r\n\r\n"
    assert (await (await connect(delete)).rest()).split()[1] == b"200"
    assert (await (await connect(last)).rest()).split()[1] == b"404"


async def test_many_who_look_at_one_message_have_it_parsed_once(serve, monkeypatch):
    from prixfixe.http.api import routes as api

    running, connect = await serve()
    await deliver(running, TEXT)
    parsed, detail = [], api._detail

    def counted(message):
        parsed.append(message.id)
        time.sleep(0.2)  # while the others ask
        return detail(message)

    monkeypatch.setattr(api, "_detail", counted)
    ask = HEAD % (b"GET", b"/api/v1/message/latest") + b"Connection: close\r\n\r\n"
    clients = [await connect(ask) for _ in range(10)]
    answers = await asyncio.gather(*(one.rest() for one in clients))
    assert len(set(answers)) == 1
    assert len(parsed) == 1


async def test_a_page_holds_so_much_and_a_client_that_counts_gets_all(serve, monkeypatch):
    from prixfixe.http.api import mailbox

    monkeypatch.setattr(mailbox, "PAGE_OCTETS", 1500)
    running, connect = await serve()
    for _ in range(7):
        await deliver(running, b"x\r\n")
    for path in (b"/api/v1/messages?start=%d", b"/api/v1/search?query=to:b&start=%d"):
        names = []
        while True:
            ask = HEAD % (b"GET", path % len(names)) + b"Connection: close\r\n\r\n"
            page = json.loads((await (await connect(ask)).rest()).partition(b"\r\n\r\n")[2])
            assert page["messages_count"] == 7
            names += [one["ID"] for one in page["messages"]]
            if not page["count"]:
                break
            assert page["count"] < 7
        assert names == [one.id for one in reversed(running.messages)]


# --- pieces, turns and the shelf by themselves

VALUES = [
    *(
        "",
        "x" * 100_000,
        "\ufffd" * 50_000,
        "\U0001f600" * 30_000,
        "\ud800" * 20_000,
        '"\\\n' * 9000,
    ),
    *(None, True, 1, 1.5, [], {}, [[], {}], {"a": ["x" * 9000, {"b": None}], "c\n": "y" * 20_000}),
    [{"Name": "n", "Address": "a@b"}] * 5000,
]


@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
def test_json_in_pieces_is_the_same_json(value):
    made = list(pieces.json_pieces(value))
    assert b"".join(made) == json.dumps(value, separators=(",", ":")).encode() + b"\n"
    assert max(map(len, made)) <= 5 * pieces.PIECE_OCTETS


def test_octets_in_pieces_are_the_same_octets():
    made = list(pieces.cut([b"a" * 100_000, b"", b"b"]))
    assert b"".join(made) == b"a" * 100_000 + b"b"
    assert max(map(len, made)) <= pieces.PIECE_OCTETS


class Greedy:
    """A connection that always wants more, and takes half a millisecond for each step."""

    def __init__(self, cost=0.0):
        self.cost, self.steps = cost, 0

    def step(self):
        self.steps += 1
        until = time.perf_counter() + 0.0005
        while time.perf_counter() < until:
            pass
        return True, 0.0


async def test_a_turn_ends_however_many_want_more():
    loop = asyncio.get_running_loop()
    queue = turns.Turns(loop)
    greedy = [Greedy() for _ in range(200)]
    for one in greedy:
        queue.want(one)
    for _ in range(5):
        before = sum(one.steps for one in greedy)
        queue._run()
        assert sum(one.steps for one in greedy) - before <= turns.SLICE_SECONDS / 0.0005 + 1
    queue._waiting.clear()


async def test_who_has_cost_least_is_served_first():
    queue = turns.Turns(asyncio.get_running_loop())
    dear, cheap = [Greedy(cost=9.0) for _ in range(50)], Greedy()
    for one in (*dear, cheap):
        queue.want(one)
    queue._run()
    assert cheap.steps
    assert not sum(one.steps for one in dear)
    queue._waiting.clear()


class Reader:
    """A connection as the shelf sees it."""

    def __init__(self, stalled=0.0):
        self.stalled_seconds, self.cuts = stalled, []

    def cut(self, result):
        self.cuts.append(result)
        self.loan.give_back()


async def lend(room, key, reader, weight=10):
    async def make():
        return key

    reader.loan = await room.lend(key, reader, make, lambda _value: weight)
    return reader.loan


async def test_nothing_is_made_while_the_copies_take_all_there_is(monkeypatch):
    monkeypatch.setattr(shelf, "WAIT_SECONDS", 0.3)
    monkeypatch.setattr(shelf, "LOOK_SECONDS", 0.05)
    room = Shelf(total=25)
    readers = [Reader() for _ in range(3)]
    for number, reader in enumerate(readers):
        await lend(room, number, reader)
    assert room.octets == 30
    with pytest.raises(HTTPException) as caught:
        await lend(room, 9, Reader())
    assert (caught.value.status_code, *caught.value.headers) == (503, "Retry-After")
    await lend(room, 0, Reader())  # what is there already is lent on
    waiting = asyncio.create_task(lend(room, 9, Reader()))
    await asyncio.sleep(0)
    readers[1].loan.give_back()
    assert (await waiting).value == 9


async def test_readers_who_take_nothing_make_room_for_others(monkeypatch):
    monkeypatch.setattr(shelf, "LOOK_SECONDS", 0.05)
    room = Shelf(total=5)
    both = [Reader(stalled=99), Reader()]
    for reader in both:
        await lend(room, "read by one of two", reader)
    waiting = asyncio.create_task(lend(room, "next", Reader()))
    await asyncio.sleep(0.2)
    assert not waiting.done()
    both[1].stalled_seconds = 99
    assert (await waiting).value == "next"
    assert [one.cuts for one in both] == [["replaced"], ["replaced"]]


async def test_a_loan_that_fails_leaves_nothing_behind():
    room = Shelf(total=5)

    async def fail():
        raise HTTPException(404, "no such message")

    for _ in range(3):
        with pytest.raises(HTTPException):
            await room.lend("x", Reader(), fail, len)
    task = asyncio.create_task(
        room.lend("y", Reader(), asyncio.get_running_loop().create_future, len)
    )
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert (room.octets, room._known, room._copies) == (0, {}, set())
    assert (await lend(room, "x", Reader())).value == "x"
