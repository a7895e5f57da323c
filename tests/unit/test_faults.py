"""Faults over real sockets: every stage, kind, scope and count; and the API that makes them."""

import asyncio
import json
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.exceptions import HTTPException
from starlette.requests import Request

from prixfixe.faults.registry import MAX_RULES
from prixfixe.http import pieces
from prixfixe.http.api.fault_request import read_fault
from prixfixe.http.bodies import Bodies
from tests.conftest import PATIENCE, until
from tests.unit.test_auth import cheap_hash
from tests.unit.test_connection import START, GatedStore, client_context

BODY = b"Subject: x\r\n\r\nhello\r\n.\r\n"


@pytest.fixture
def serve(start):
    async def serve(store=None, **variables):
        return await start(store, SMTP_HTTP_PORT="0", SMTP_FAULTS="true", **variables)

    return serve


async def add(client, running, stage, action, match=None, **more):
    """Add a fault and return a function that tells its hits."""
    asked = {"match": match or {}, "stage": stage, "action": action, **more}
    answer = await client.post(f"{running.http}/api/v1/faults", json=asked)
    assert answer.status_code == 200, answer.text
    name = answer.json()["ID"]

    async def hits():
        found = await client.get(f"{running.http}/api/v1/faults/{name}")
        return found.json()["Hits"]

    return hits


# --- replies


@pytest.mark.parametrize(
    ("stage", "before", "octets"),
    [
        ("ehlo", [], b"EHLO c\r\n"),
        ("ehlo", [], b"HELO c\r\n"),
        ("mail", [b"EHLO c\r\n"], b"MAIL FROM:<a@x.test>\r\n"),
        ("rcpt", [b"EHLO c\r\n", b"MAIL FROM:<a@x.test>\r\n"], b"RCPT TO:<b@y.test>\r\n"),
    ],
)
async def test_a_command_is_refused_as_often_as_is_asked_for(serve, client, stage, before, octets):
    running = await serve()
    hits = await add(client, running, stage, {"reply": "451 4.2.1 busy"}, times=2)
    wire = await running.connect()
    for one in before:
        assert await wire.ask(one) == [250]
    for _ in range(2):
        await wire.send(octets)
        assert await wire.reply() == b"451 4.2.1 busy\r\n"
    assert await wire.ask(octets) == [250]
    assert await hits() == 2


async def test_data_is_refused_and_the_next_message_is_taken(serve, client):
    running = await serve()
    hits = await add(client, running, "data", {"reply": "554 5.7.1 no"}, times=1)
    wire = await running.say_hello()
    assert await wire.ask(START, 3) == [250, 250, 554]
    assert await wire.ask(START, 3) == [250, 250, 354]
    assert await wire.ask(BODY) == [250]
    assert await hits() == 1
    (record,) = running.logged("message refused")
    assert (record["sender"], record["recipient"]) == ("a@x.test", "b@y.test")
    assert (record["reply"], record["reason"]) == ("554 5.7.1 no", "fault")


async def test_a_chunk_is_refused_and_its_octets_are_no_commands(serve, client):
    running = await serve()
    await add(client, running, "data", {"reply": "451 4.3.0 later"}, times=1)
    wire = await running.say_hello()
    start = START.removesuffix(b"DATA\r\n")
    assert await wire.ask(start + b"BDAT 6\r\nQUIT\r\nNOOP\r\n", 4) == [250, 250, 451, 250]
    assert await wire.ask(start + b"BDAT 3 LAST\r\nx\r\n", 3) == [250, 250, 250]
    assert [one.body for one in running.messages] == [b"x\r\n"]


@pytest.mark.parametrize("reply", ["451 4.3.0 later", "550 5.7.1 never"])
async def test_a_message_is_refused_at_its_end_and_not_stored(serve, client, reply):
    running = await serve()
    await add(client, running, "eod", {"reply": reply}, times=1)
    wire = await running.say_hello()
    assert await wire.ask(START, 3) == [250, 250, 354]
    await wire.send(BODY)
    assert await wire.reply() == reply.encode() + b"\r\n"
    assert running.messages == []
    result = "rejected" if reply.startswith("5") else "deferred"
    counts = running.server.metrics.series()["messages"].counts
    assert counts["smtp", result, "fault"] == 1
    assert await wire.ask(START, 3) == [250, 250, 354]
    assert await wire.ask(BODY) == [250]


async def test_a_greeting_is_refused_and_the_connection_closed(serve, client):
    running = await serve()
    await add(client, running, "connect", {"reply": "554 no service"}, times=1)
    wire = await running.connect(greet=False)
    assert await wire.rest() == b"554 no service\r\n"
    await running.connect()


async def test_421_closes_at_every_stage(serve, client):
    running = await serve()
    await add(client, running, "eod", {"reply": "421 4.3.2 going"}, times=1)
    await add(client, running, "rcpt", {"reply": "421 4.3.2 gone"}, {"to": "c@y.test"})
    wire = await running.say_hello()
    assert await wire.ask(START, 3) == [250, 250, 354]
    await wire.send(BODY)
    assert await wire.rest() == b"421 4.3.2 going\r\n"
    wire = await running.say_hello()
    await wire.send(b"MAIL FROM:<a@x.test>\r\nRCPT TO:<c@y.test>\r\nDATA\r\n")
    assert (await wire.rest()).endswith(b"421 4.3.2 gone\r\n")
    assert running.messages == []


async def test_a_login_is_refused(serve, client, tmp_path):
    users = tmp_path / "users"
    users.write_text(f"ann:{cheap_hash('secret')}\n")
    running = await serve(
        SMTP_AUTH="optional", SMTP_AUTH_INSECURE="true", SMTP_AUTH_USERS=str(users)
    )
    await add(client, running, "auth", {"reply": "454 4.7.0 not now"}, times=1)
    wire = await running.say_hello()
    login = b"AUTH PLAIN AGFubgBzZWNyZXQ=\r\n"
    assert await wire.ask(login) == [454]
    assert await wire.ask(login) == [235]


async def test_starttls_is_refused_and_delayed(serve, client):
    running = await serve(SMTP_TLS_CERT="self-signed")
    await add(client, running, "starttls", {"reply": "454 4.7.0 no TLS now"}, times=1)
    wire = await running.say_hello()
    assert await wire.ask(b"STARTTLS\r\n") == [454]
    await add(client, running, "starttls", {"delay": "50ms"}, times=1)
    assert await wire.ask(b"STARTTLS\r\n") == [220]
    await wire.writer.start_tls(client_context())
    assert await wire.ask(b"EHLO c\r\n") == [250]


async def test_the_greeting_inside_tls_is_hindered_too(serve, client):
    running = await serve(SMTP_TLS_CERT="self-signed", SMTP_TLS_PORT="0")
    await add(client, running, "connect", {"delay": "50ms"}, times=1)
    await add(client, running, "connect", {"reply": "421 4.3.2 no"}, times=1)
    port = int(running.bound.smtps.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client_context())
    assert await asyncio.wait_for(reader.read(), PATIENCE) == b"421 4.3.2 no\r\n"
    writer.close()


# --- drops, delays, stalls, cuts


@pytest.mark.parametrize("stage", ["connect", "ehlo", "mail", "rcpt", "data", "eod"])
async def test_a_drop_ends_the_connection_and_stores_nothing(serve, client, stage):
    running = await serve()
    hits = await add(client, running, stage, {"drop": True}, times=1)
    wire = await running.connect(greet=False)
    await wire.send(b"EHLO c\r\n" + START + BODY + b"QUIT\r\n")
    assert await wire.is_cut()
    await until(lambda: not running.server.roster.connections)
    assert running.messages == []
    assert await hits() == 1
    (record,) = running.logged("session ended")
    assert record["end"] == "fault"
    wire = await running.say_hello()
    assert await wire.ask(START, 3) == [250, 250, 354]
    assert await wire.ask(BODY) == [250]


@pytest.mark.parametrize("stage", ["connect", "ehlo", "mail", "rcpt", "data", "eod"])
async def test_a_delay_answers_later(serve, client, stage):
    running = await serve()
    hits = await add(client, running, stage, {"delay": "0.2"}, times=1)
    loop = asyncio.get_running_loop()
    since = loop.time()
    wire = await running.connect()
    assert await wire.ask(b"EHLO c\r\n" + START, 4) == [250, 250, 250, 354]
    assert await wire.ask(BODY) == [250]
    assert loop.time() - since >= 0.19
    assert len(running.messages) == 1
    assert await hits() == 1
    assert running.server.faults.held == 0


async def test_at_the_end_of_data_a_message_is_stored_and_then_told(serve, client):
    running = await serve()
    await add(client, running, "eod", {"delay": "200s"})
    wire = await running.say_hello()
    assert await wire.ask(START, 3) == [250, 250, 354]
    await wire.send(BODY)
    await until(lambda: running.messages and running.server.faults.held == 1)
    running.server.roster.drain()  # A server that stops does not wait for it.
    answers = (await wire.rest()).splitlines()
    assert [line[:3] for line in answers] == [b"250", b"421"]


async def test_a_failed_store_is_told_at_once_in_spite_of_a_delay(serve, client):
    from prixfixe.stores.base import StoreError

    store = GatedStore()
    store.error = StoreError("no")
    running = await serve(store)
    await add(client, running, "eod", {"delay": "200s"})
    wire = await running.say_hello()
    assert await wire.ask(START, 3) == [250, 250, 354]
    await wire.send(BODY)
    store.gate.set()
    assert (await wire.reply()).startswith(b"451 4.3.0")


async def test_a_delay_comes_before_another_fault(serve, client):
    running = await serve()
    await add(client, running, "rcpt", {"delay": "10ms"})
    await add(client, running, "rcpt", {"reply": "450 4.2.1 busy"})
    await add(client, running, "rcpt", {"delay": "200s"})  # a second one adds nothing
    wire = await running.say_hello()
    assert await wire.ask(b"MAIL FROM:<a@x.test>\r\nRCPT TO:<b@y.test>\r\n", 2) == [250, 450]


@pytest.mark.parametrize("stage", ["connect", "ehlo", "rcpt", "data", "eod"])
async def test_a_stall_answers_nothing_and_ends_with_its_client(serve, client, stage):
    running = await serve()
    await add(client, running, stage, {"stall": True}, times=1)
    wire = await running.connect(greet=False)
    await wire.send(b"EHLO c\r\n" + START + BODY + b"QUIT\r\n")
    await until(lambda: running.server.faults.held == 1)
    wire.writer.write_eof()
    await wire.is_cut()
    await until(lambda: not running.server.roster.connections)
    assert running.server.faults.held == 0
    assert running.messages == []


async def test_a_stall_ends_at_the_time_limit_without_a_reply(serve, client):
    running = await serve(SMTP_TIMEOUT="100")
    await add(client, running, "rcpt", {"stall": True})
    wire = await running.say_hello()
    assert await wire.ask(b"MAIL FROM:<a@x.test>\r\n") == [250]
    await wire.send(b"RCPT TO:<b@y.test>\r\n")
    await until(lambda: running.server.faults.held == 1)
    running.later(101)
    assert await wire.is_cut()
    await until(lambda: running.server.faults.held == 0)
    assert running.logged("session ended")[0]["end"] == "timeout"


async def test_a_stalled_connection_makes_room(serve, client):
    running = await serve(SMTP_MAX_CONNECTIONS="1", SMTP_STRESS_TIMEOUT="5")
    await add(client, running, "rcpt", {"stall": True}, {"to": "b@y.test"}, times=1)
    stalled = await running.say_hello()
    await stalled.send(START)
    await until(lambda: running.server.faults.held == 1)
    running.clock.ahead += 6
    await running.say_hello()
    assert await stalled.is_cut()


async def test_a_stopping_server_does_not_wait_for_a_stall(serve, client):
    running = await serve()
    await add(client, running, "rcpt", {"stall": True})
    wire = await running.say_hello()
    await wire.send(START)
    await until(lambda: running.server.faults.held == 1)
    running.server.roster.drain()
    assert await wire.is_cut()
    await asyncio.wait_for(running.server.roster.is_empty.wait(), PATIENCE)


async def test_held_connections_are_half_of_all_at_most(serve, client):
    running = await serve(SMTP_MAX_CONNECTIONS="4")
    await add(client, running, "ehlo", {"stall": True})
    for held in (1, 2):
        wire = await running.connect()
        await wire.send(b"EHLO c\r\n")
        await until(lambda held=held: running.server.faults.held == held)
    wire = await running.connect()
    await wire.send(b"EHLO c\r\n")
    assert (await wire.rest()).startswith(b"421 4.3.2 Faults hold too many connections")
    assert running.server.metrics.series()["smtp_limits"].counts["faults",] == 1


async def test_a_connection_is_cut_after_so_many_octets(serve, client):
    running = await serve()
    hits = await add(client, running, "data", {"close_after": 1000})
    wire = await running.say_hello()
    assert await wire.ask(START, 3) == [250, 250, 354]
    await wire.send(b"x" * 998 + b"\r\n")
    assert await wire.is_cut()
    await until(lambda: not running.server.roster.connections)
    assert running.messages == []
    assert await hits() == 1
    counts = running.server.metrics.series()["messages"].counts
    assert counts["smtp", "aborted", "fault"] == 1


async def test_octets_that_are_there_already_count(serve, client):
    running = await serve()
    await add(client, running, "data", {"close_after": 10})
    wire = await running.say_hello()
    await wire.send(START.removesuffix(b"DATA\r\n") + b"BDAT 11 LAST\r\nhello\r\nyou\r\n")
    assert await wire.is_cut()
    assert running.messages == []


async def test_fewer_octets_than_that_are_taken(serve, client):
    running = await serve()
    await add(client, running, "mail", {"close_after": 1000})
    wire = await running.say_hello()
    assert await wire.ask(START, 3) == [250, 250, 354]
    assert await wire.ask(BODY) == [250]
    wire.writer.write_eof()
    assert await wire.rest() == b""
    assert len(running.messages) == 1


async def test_a_large_envelope_gives_its_memory_back_when_it_is_stalled(serve, client):
    running = await serve()
    await add(client, running, "data", {"stall": True})
    wire = await running.say_hello()
    await wire.send(b"MAIL FROM:<a@x.test>\r\n" + b"RCPT TO:<b@y.test>\r\n" * 500 + b"DATA\r\n")
    await until(lambda: running.server.faults.held == 1)
    assert running.server.budget.in_use > 0
    wire.close()
    await until(lambda: not running.server.roster.connections)
    assert running.server.budget.in_use == 0


# --- scope


MATCHES = [
    ({}, True),
    ({"to": "B@Y.test"}, True),
    ({"to": "@y.test"}, True),
    ({"to": "@test"}, False),
    ({"to": "c@y.test"}, False),
    ({"from": "a@x.test"}, True),
    ({"from": ""}, False),
    ({"to": "b@y.test", "from": "z@x.test"}, False),
    ({"peer": "127.0.0.1"}, True),
    ({"peer": "127.0.0.0/8"}, True),
    ({"peer": "::1"}, False),
    ({"peer": "127.0.0.1:1"}, False),
    ({"helo": "C.TEST"}, True),
    ({"helo": "d.test"}, False),
]


async def test_a_fault_is_for_what_it_matches_alone(serve, client):
    running = await serve()
    for match, is_met in MATCHES:
        hits = await add(client, running, "rcpt", {"reply": "450 4.2.1 busy"}, match)
        wire = await running.say_hello()
        codes = await wire.ask(b"MAIL FROM:<a@x.test>\r\nRCPT TO:<b@y.test>\r\n", 2)
        assert codes == [250, 450 if is_met else 250], match
        assert await hits() == is_met
        running.server.faults._rules.clear()


async def test_commands_out_of_place_or_malformed_meet_no_fault(serve, client):
    running = await serve()
    hits = [
        await add(client, running, stage, {"reply": "450 4.2.1 busy"})
        for stage in ("mail", "rcpt", "data")
    ]
    wire = await running.say_hello()
    for line in (b"RCPT TO:<b@y.test>", b"DATA", b"MAIL FROM:<a@@>", b"BDAT 0 LAST"):
        assert (await wire.ask(line + b"\r\n"))[0] > 500
    assert [await one() for one in hits] == [0, 0, 0]


async def test_many_tests_at_once_meet_their_own_faults_alone(serve, client):
    running = await serve()

    async def one(number):
        to = f"t{number}@y.test"
        hits = await add(
            client, running, "rcpt", {"reply": f"4{number:02d} own"}, {"to": to}, times=3
        )
        octets = f"MAIL FROM:<a@x.test>\r\nRCPT TO:<{to}>\r\n".encode()
        for _ in range(3):
            wire = await running.say_hello()
            assert await wire.ask(octets, 2) == [250, 400 + number]
            wire.close()
        wire = await running.say_hello()
        assert await wire.ask(octets, 2) == [250, 250]
        wire.close()
        assert await hits() == 3

    await asyncio.gather(*(one(number) for number in range(42)))


async def test_a_fault_ends_with_its_time(serve, client):
    running = await serve()
    await add(client, running, "rcpt", {"reply": "450 4.2.1 busy"}, ttl="1000s")
    running.server.faults._clock = lambda: time.monotonic() + 1001
    wire = await running.say_hello()
    assert await wire.ask(b"MAIL FROM:<a@x.test>\r\nRCPT TO:<b@y.test>\r\n", 2) == [250, 250]
    assert (await client.get(f"{running.http}/api/v1/faults")).json() == {"faults": []}


# --- the API


async def test_as_many_faults_are_listed_as_fit(serve, client, monkeypatch):
    running = await serve()
    url = f"{running.http}/api/v1/faults"
    for _ in range(10):
        await client.post(url, json={"match": {}, "stage": "rcpt", "action": {"drop": True}})
    assert len((await client.get(url)).json()["faults"]) == 10
    monkeypatch.setattr(pieces, "PAGE_OCTETS", 500)
    assert 1 < len((await client.get(url)).json()["faults"]) < 10


async def test_faults_are_listed_and_removed(serve, client):
    running = await serve()
    url = f"{running.http}/api/v1/faults"
    asked = {
        "Match": {"To": "b@y.test", "from": "a@x.test"},
        "stage": "rcpt",
        "ACTION": {"delay": 1.5},
        "times": 2,
        "ttl": "1h",
    }
    name = (await client.post(url, json=asked)).json()["ID"]
    (record,) = (await client.get(url)).json()["faults"]
    assert 3590 < record.pop("TTL") <= 3600
    assert record == {
        "ID": name,
        "Match": {"to": "b@y.test", "from": "a@x.test"},
        "Stage": "rcpt",
        "Action": {"delay": "1.5s"},
        "Times": 2,
        "Hits": 0,
    }
    assert (await client.delete(f"{url}/{name}")).text == "ok"
    assert (await client.delete(f"{url}/{name}")).status_code == 404
    assert (await client.get(f"{url}/{name}")).status_code == 404
    assert (await client.get(url)).json() == {"faults": []}


NAMES = st.sampled_from(
    [
        *("match", "stage", "action", "times", "ttl", "to", "from", "peer", "helo", "Match", "x"),
        *("reply", "delay", "drop", "stall", "close_after"),
    ]
)
JSON = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["rcpt", "data", "eod", "451 x", "250 x", "451 x\r\n", "3s", "1h", "a@b"])
    | st.fixed_dictionaries({"reply": st.text("45 .x\r\n", max_size=9)})
)
REPLY = {"reply": "451 4.2.1 busy"}
GOOD = {"match": {}, "stage": "rcpt", "action": REPLY}
WRONG = [
    ({**GOOD, "stage": "rctp"}, 'stage: "rctp": expected one of connect, ehlo, starttls'),
    ({**GOOD, "stage": None}, "stage: null: expected one of connect"),
    ({**GOOD, "stage": ["rcpt"]}, 'stage: ["rcpt"]: expected one of'),
    ({"stage": "rcpt", "action": REPLY}, "match: null: expected an object such as"),
    ({**GOOD, "match": []}, "match: []: expected an object such as"),
    ({**GOOD, "match": {"too": "a@b"}}, "match: 'too': expected to, from, peer, helo"),
    ({**GOOD, "match": {"to": "ann"}}, 'match.to: "ann": expected an address'),
    ({**GOOD, "match": {"to": None}}, "match.to: null: expected an address"),
    ({**GOOD, "match": {"to": "a" * 2000 + "@b"}}, 'match.to: "aaa'),
    ({**GOOD, "match": {"from": "a b@c"}}, 'match.from: "a b@c": expected an address'),
    ({**GOOD, "match": {"peer": "host"}}, 'match.peer: "host": expected an address such as'),
    ({**GOOD, "match": {"helo": ""}}, 'match.helo: "": expected the name of HELO or EHLO'),
    ({**GOOD, "stage": "mail", "match": {"to": "a@b"}}, "match: to is not known yet at mail"),
    ({**GOOD, "stage": "connect", "match": {"helo": "c"}}, "match: helo is not known yet at"),
    ({**GOOD, "action": {}}, "action: {}: expected an object with one of reply, delay"),
    ({**GOOD, "action": "drop"}, 'action: "drop": expected an object with one of'),
    ({**GOOD, "action": {**REPLY, "drop": True}}, "expected an object with one of"),
    ({**GOOD, "action": {"lose": True}}, "action: 'lose': expected reply, delay, drop, stall"),
    ({**GOOD, "action": {"drop": False}}, "action.drop: false: expected true"),
    ({**GOOD, "action": {"stall": 1}}, "action.stall: 1: expected true"),
    ({**GOOD, "action": {"delay": "3 weeks"}}, 'action.delay: "3 weeks": expected a duration'),
    ({**GOOD, "action": {"delay": "301s"}}, 'action.delay: "301s": expected a duration'),
    ({**GOOD, "action": {"delay": 0}}, "action.delay: 0: expected a duration"),
    ({**GOOD, "action": {"delay": -1}}, "action.delay: -1: expected a duration"),
    ({**GOOD, "action": {"delay": True}}, "action.delay: true: expected a duration"),
    ({**GOOD, "action": {"close_after": -1}}, "action.close_after: -1: expected whole bytes"),
    ({**GOOD, "action": {"close_after": 2**40}}, "action.close_after: 1099511627776: expected"),
    ({**GOOD, "stage": "eod", "action": {"close_after": 9}}, "the message has ended at eod"),
    ({**GOOD, "times": 0}, "times: 0: expected a whole number from 1"),
    ({**GOOD, "times": 1e9}, "times: 1000000000.0: expected a whole number from 1"),
    ({**GOOD, "times": True}, "times: true: expected a whole number"),
    ({**GOOD, "ttl": "2h"}, 'ttl: "2h": expected a duration'),
    ({**GOOD, "ttl": 1e300}, "ttl: 1e+300: expected a duration"),
    ({**GOOD, "ttl": float("inf")}, "ttl: Infinity: expected a duration"),
    ({**GOOD, "ttl": {}}, "ttl: {}: expected a duration"),
    ({**GOOD, "when": 1}, "a fault: 'when': expected stage, match, action, times, ttl"),
    *(
        ({**GOOD, "action": {"reply": reply}}, "expected one line of ASCII with a code of 4xx or")
        for reply in (
            *("250 2.0.0 OK", "354 go", "451 a\r\n250 b", "451 a\n", "451\r", "4510", "4", ""),
            *("600 x", "451 é", "451 5.1.1 x", "550 2.0.0 OK", "451-x", "451 " + "x" * 600),
            *(451, None, ["451"], "４51 x", "451 \0"),
        )
    ),
]


async def test_wrong_use_is_told_what_to_write(serve, client):
    running = await serve()
    url = f"{running.http}/api/v1/faults"
    for asked, told in WRONG:
        answer = await client.post(url, content=json.dumps(asked))
        assert answer.status_code == 400, asked
        assert told in answer.json()["Error"], asked
    for octets in (b"", b"{", b"[]", b"null", b"\xff", b'{"stage":1,"Stage":2}', b"[" * 100_000):
        answer = await client.post(url, content=octets)
        assert answer.status_code == 400, octets
        assert 'such as {"match": {"to": "ann@example.com"}' in answer.json()["Error"], octets
    assert (await client.get(url)).json() == {"faults": []}


@given(st.recursive(JSON, lambda one: st.lists(one) | st.dictionaries(NAMES, one), max_leaves=12))
def test_any_json_is_a_fault_or_told_why_not(value):
    """A request is understood, or is a 400 of one line; a reply is one line of 4xx or 5xx."""

    async def receive():
        return {"type": "http.request", "body": json.dumps(value).encode()}

    state = {"bodies": Bodies(), "connection": object()}
    asked = Request({"type": "http", "headers": [], "state": state}, receive)
    try:
        fault = asyncio.run(read_fault(asked))
    except HTTPException as error:
        assert error.status_code == 400
        assert "\n" not in error.detail
        assert len(error.detail) < 500
        return
    hindrance = fault.action.hindrance("x")
    assert 0 < fault.seconds <= 3600
    assert fault.times is None or 0 < fault.times <= 1_000_000
    if hindrance.reply is not None:
        assert re.fullmatch(rb"[45][0-9][0-9](| [ -~]*)\r\n", hindrance.reply.wire)


async def test_replies_of_4xx_and_5xx_are_sent_as_they_are_written(serve, client):
    running = await serve()
    wire = await running.connect()
    for reply in ("451", "451 ", "599 x", "450 mailbox busy", "550 5.1.1 no"):
        await add(client, running, "ehlo", {"reply": reply}, times=1)
        await wire.send(b"EHLO c\r\n")
        assert await wire.reply() == reply.encode() + b"\r\n"


async def test_there_is_a_bound_on_faults(serve, client):
    running = await serve()
    faults = running.server.faults
    await add(client, running, "rcpt", {"drop": True})
    ((rule, _),) = faults.rules()
    for _ in range(MAX_RULES - 1):
        faults.add("rcpt", rule.match, rule.action, times=None, seconds=60)
    answer = await client.post(f"{running.http}/api/v1/faults", json=GOOD)
    assert answer.status_code == 503
    assert "there are 1000 faults already" in answer.json()["Error"]


async def test_without_the_setting_there_are_no_faults(start, client):
    running = await start(SMTP_HTTP_PORT="0")
    url = f"{running.http}/api/v1/faults"
    asked = (client.post(url, json=GOOD), client.get(url), client.delete(f"{url}/x"))
    for answer in await asyncio.gather(*asked):
        assert answer.status_code == 400
        assert answer.json() == {"Error": "faults are off: start the server with SMTP_FAULTS=true"}


async def test_the_token_guards_faults(serve, client):
    running = await serve(SMTP_HTTP_TOKEN="secret")
    url = f"{running.http}/api/v1/faults"
    assert (await client.post(url, json=GOOD)).status_code == 401
    headers = {"Authorization": "Bearer secret"}
    assert (await client.post(url, json=GOOD, headers=headers)).status_code == 200
    headers["Origin"] = "http://evil.example"
    assert (await client.post(url, json=GOOD, headers=headers)).status_code == 403


async def test_faults_beside_a_lasting_store_are_a_warning(serve, tmp_path):
    running = await serve(SMTP_STORE=f"sqlite:{tmp_path}/mail.db")
    assert len(running.logged("faults with a lasting store")) == 1
    running = await serve()
    assert running.logged("faults with a lasting store") == []
