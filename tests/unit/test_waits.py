"""Waits for a link, for a code, and for nothing, over real sockets."""

import asyncio
import time

import pytest

from prixfixe.http import pieces
from prixfixe.http.api import waits
from tests.conftest import PATIENCE, until
from tests.unit.test_connection import START, GatedStore
from tests.unit.test_http import deliver

RESET = (
    b"From: app@x.test\r\nTo: b@y.test\r\nSubject: Reset, code 424242\r\n"
    b"Content-Type: text/html; charset=utf-8\r\n\r\n"
    b'<p>Hi</p><a href="https://x.test/help">help</a>\r\n'
    b'<a href="https://x.test/reset?t=1&amp;u=2">reset</a>\r\n'
)
PLAIN = b"From: app@x.test\r\nTo: b@y.test\r\nSubject: Hello\r\n\r\nhello\r\n"


async def get(client, running, what, **asked):
    asked = {"to": "b@y.test", "timeout": 0, **asked}
    return await client.get(f"{running.http}/api/v1/wait/{what}", params=asked)


# --- links and codes


async def test_a_link_of_mail_that_is_there(serve, client):
    running = await serve()
    name = await deliver(running, RESET)
    await deliver(running, PLAIN)  # newer, and without a link
    answer = await get(client, running, "link", contains="/reset")
    assert answer.status_code == 200
    record = answer.json()
    assert record["Value"] == "https://x.test/reset?t=1&u=2"
    assert record["Candidates"] == ["https://x.test/help", "https://x.test/reset?t=1&u=2"]
    assert record["Message"]["ID"] == name
    assert record["Message"]["Subject"] == "Reset, code 424242"
    assert (await get(client, running, "link")).json()["Value"] == "https://x.test/help"


async def test_the_newest_mail_with_one_is_asked(serve, client):
    running = await serve()
    first = await deliver(running, RESET)
    await deliver(running, RESET.replace(b"t=1", b"t=9").replace(b"424242", b"999999"))
    assert (await get(client, running, "link", contains="t=")).json()["Value"][-7:] == "t=9&u=2"
    assert (await get(client, running, "code")).json()["Value"] == "999999"
    newer = await get(client, running, "code", since=first)
    assert newer.json()["Value"] == "999999"


async def test_a_link_of_mail_that_comes(serve, client):
    running = await serve()
    asked = asyncio.create_task(get(client, running, "link", contains="t=1", timeout=PATIENCE))
    await until(lambda: running.server.arrivals.waiters)
    await deliver(running, PLAIN)
    await deliver(running, RESET, to=(b"other@y.test",))
    await deliver(running, RESET)
    assert (await asked).json()["Value"] == "https://x.test/reset?t=1&u=2"


async def test_a_link_that_does_not_come(serve, client):
    running = await serve(SMTP_RECIPIENTS="b@y.test")
    await deliver(running, RESET, to=(b"b@y.test",))
    answer = await get(client, running, "link", contains="/nowhere")
    assert answer.status_code == 408
    record = answer.json()
    assert record["Error"] == "no link that contains '/nowhere' came in 0 s; 1 messages match"
    assert record["Candidates"] == ["https://x.test/help", "https://x.test/reset?t=1&u=2"]
    assert (record["Stored"], record["Refused"]) == (1, [])
    wire = await running.say_hello()
    await wire.ask(b"MAIL FROM:<a@x.test>\r\nRCPT TO:<c@y.test>\r\n", 2)
    answer = await get(client, running, "code", to="c@y.test")
    assert [one["Reply"] for one in answer.json()["Refused"]] == [
        "550 5.1.1 No such recipient here"
    ]


async def test_wrong_questions_are_told(serve, client):
    running = await serve()
    for what, asked, told in [
        ("link", {"contain": "x"}, "unknown parameter 'contain'"),
        ("code", {"contains": "x"}, "unknown parameter 'contains'"),
        ("code", {"length": "2"}, "length: expected a whole number from 3 to 20"),
        ("code", {"length": "21"}, "length: expected a whole number from 0 to 20"),
        ("code", {"length": "six"}, "length: expected a whole number"),
        ("none", {"count": "1"}, "unknown parameter 'count'"),
        ("none", {"within": "1 day"}, "within: expected a number from 0 to 300"),
        ("none", {"to": ""}, "expected text"),
    ]:
        answer = await get(client, running, what, **asked)
        assert answer.status_code == 400
        assert told in answer.json()["Error"]


# --- nothing


async def test_nothing_came(serve, client):
    running = await serve()
    await deliver(running, PLAIN, to=(b"other@y.test",))
    answer = await get(client, running, "none", to="c@y.test")
    assert (answer.status_code, answer.json()) == (200, {"Stored": 1, "Refused": []})


async def test_something_came(serve, client):
    running = await serve()
    name = await deliver(running, PLAIN)
    answer = await get(client, running, "none")
    assert answer.status_code == 409
    assert [one["ID"] for one in answer.json()["messages"]] == [name]
    assert (await get(client, running, "none", since=name)).status_code == 200


async def test_something_comes_within_the_time(serve, client):
    running = await serve()
    asked = asyncio.create_task(get(client, running, "none", within=PATIENCE))
    await until(lambda: running.server.arrivals.waiters)
    await deliver(running, PLAIN)
    assert (await asked).status_code == 409


@pytest.mark.parametrize("is_kept", [True, False])
async def test_a_transaction_for_the_address_is_waited_for(serve, client, is_kept):
    store = GatedStore()
    running = await serve(store)
    wire, other = await running.say_hello(), await running.say_hello()
    assert await wire.ask(START, 3) == [250, 250, 354]
    await other.ask(b"MAIL FROM:<z@x.test>\r\nRCPT TO:<z@y.test>\r\n", 2)
    asked = asyncio.create_task(get(client, running, "none", timeout=PATIENCE))
    await until(lambda: running.server.arrivals.waiters)
    if is_kept:
        await wire.send(PLAIN + b".\r\n")
        await store.started.wait()
        assert running.server.roster.seen()  # The message is between its data and its reply.
        store.gate.set()
    else:
        wire.close()
    answer = await asked
    assert answer.status_code == (409 if is_kept else 200)
    refused = [] if is_kept else ["data"]
    assert [one["Stage"] for one in answer.json().get("Refused", [])] == refused


async def test_a_message_that_the_store_has_not_answered_for_is_on_its_way(serve, client):
    store = GatedStore()
    running = await serve(store)
    wire = await running.say_hello()
    assert await wire.ask(START, 3) == [250, 250, 354]
    await wire.send(PLAIN + b".\r\n")
    await store.started.wait()
    answer = await get(client, running, "none")
    assert answer.status_code == 408
    assert len(answer.json()["Sessions"]) == 1
    assert "a session that may bring such mail is open" in answer.json()["Error"]
    store.gate.set()
    await wire.reply()


async def test_the_end_of_a_senders_session_is_waited_for(serve, client):
    running = await serve()
    wire = await running.say_hello()
    assert await wire.ask(START, 3) == [250, 250, 354]
    assert await wire.ask(PLAIN + b".\r\n") == [250]
    busy = await get(client, running, "none", to="c@y.test", sender="A@x.test")
    assert busy.status_code == 408
    assert (await get(client, running, "none", to="c@y.test", sender="q@x.test")).status_code == 200
    assert await wire.ask(b"QUIT\r\n") == [221]
    asked = {"to": "c@y.test", "sender": "a@x.test", "timeout": PATIENCE}
    assert (await get(client, running, "none", **asked)).status_code == 200


async def test_without_a_recipient_every_transaction_counts(serve, client):
    running = await serve()
    url = f"{running.http}/api/v1/wait/none"
    asked = {"subject": "Hello", "timeout": 0}
    assert (await client.get(url, params=asked)).status_code == 200
    wire = await running.say_hello()
    await wire.ask(b"MAIL FROM:<z@x.test>\r\nRCPT TO:<z@y.test>\r\n", 2)
    assert (await client.get(url, params=asked)).status_code == 408


async def test_candidates_that_will_not_do_are_bounded(serve, client):
    running = await serve()
    links = "\r\n".join(f"https://x.test/{number}/{'é' * 900}" for number in range(900))
    body = f"Content-Type: text/plain; charset=utf-8\r\n\r\n{links}\r\n".encode()
    for _ in range(3):
        await deliver(running, body)
    answer = await get(client, running, "link", contains="nothing", timeout=0)
    assert answer.status_code == 408
    found = answer.json()["Candidates"]
    assert len(found) > 900
    assert sum(map(len, found)) <= waits.MAX_CHARACTERS


async def test_sessions_are_looked_at_once_for_all_who_wait():
    looked = []
    looks = waits._Looks(lambda: looked.append(len(looked)) or [])
    assert await asyncio.gather(*(looks.next() for _ in range(50))) == [[]] * 50
    assert len(looked) == 1
    assert await looks.next() == []
    assert len(looked) == 2


async def test_a_dear_look_is_followed_by_a_pause():
    """Many recipients take long to look at; the loop has time for others in between."""
    looks = waits._Looks(lambda: time.sleep(0.05) or [])
    await looks.next()
    later = asyncio.ensure_future(looks.next())
    await asyncio.sleep(0.05)  # ten times as long is the pause
    assert not later.done()
    assert await later == []


async def test_sessions_are_told_as_far_as_they_fit(serve, client, monkeypatch):
    running = await serve()
    wires = [await running.say_hello() for _ in range(8)]
    for wire in wires:
        await wire.ask(b"MAIL FROM:<z@x.test>\r\nRCPT TO:<z@y.test>\r\n", 2)
    url = f"{running.http}/api/v1/sessions"
    assert len((await client.get(url)).json()["sessions"]) == 8
    monkeypatch.setattr(pieces, "PAGE_OCTETS", 500)
    assert 1 < len((await client.get(url)).json()["sessions"]) < 6
