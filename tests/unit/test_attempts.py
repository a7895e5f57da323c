"""What clients tried in vain: remembered, bounded, told by the API and by a wait that ends."""

import json
import tracemalloc

import pytest

from prixfixe.http import pieces, shelf
from prixfixe.http.api import made
from prixfixe.http.api.attempts import attempt_record
from prixfixe.smtp.transcript import MAX_LINES, Transcript
from prixfixe.stores.base import StoreError
from prixfixe.telemetry.attempts import (
    MAX_AGE_SECONDS,
    MAX_ATTEMPTS,
    MAX_OCTETS,
    Attempts,
    Tried,
    newest_first,
)
from tests.conftest import until
from tests.unit.test_auth import cheap_hash
from tests.unit.test_connection import START, GatedStore

BODY = b"Subject: x\r\n\r\nhello\r\n.\r\n"


async def attempts(client, running, **asked):
    answer = await client.get(f"{running.http}/api/v1/attempts", params=asked)
    assert answer.status_code == 200, answer.text
    return answer.json()["attempts"]


def short(record):
    return tuple(record[name] for name in ("Stage", "From", "To", "Reply", "Reason"))


# --- what is an attempt


async def test_a_refused_recipient(serve, client):
    running = await serve(SMTP_RECIPIENTS="@good.test")
    wire = await running.say_hello()
    lines = b"MAIL FROM:<a@x.test>\r\nRCPT TO:<bob@bad.test>\r\nRCPT TO:<b@@d>\r\nRCPT bob\r\n"
    assert await wire.ask(lines + b"RSET\r\nQUIT\r\n", 6) == [250, 550, 501, 501, 250, 221]
    first, second, third = await attempts(client, running)
    reply = "550 5.1.1 No such recipient here"
    assert short(first) == ("rcpt", "a@x.test", ["bob@bad.test"], reply, "recipient")
    assert short(second)[:3] == ("rcpt", "a@x.test", ["b@@d"])
    assert third["To"] == [""]
    assert first["Session"] == second["Session"] == running.logged("session ended")[0]["session"]
    assert first["Helo"] == "c.test"
    assert first["Peer"].startswith("127.0.0.1:")
    assert first["ID"] < second["ID"]
    assert first["Transcript"] == []  # that is for servers with faults


@pytest.mark.parametrize(
    ("line", "code", "sender"),
    [
        (b"MAIL FROM:<a@x.test> SIZE=99999999999", 552, "a@x.test"),
        (b"MAIL FROM:<a@x.test> FOO=bar", 555, "a@x.test"),
        (b"MAIL FROM:<a@@>", 501, "a@@"),
        (b"MAIL FROM", 501, ""),
    ],
)
async def test_a_refused_sender(serve, client, line, code, sender):
    running = await serve()
    wire = await running.say_hello()
    assert await wire.ask(line + b"\r\n") == [code]
    (record,) = await attempts(client, running)
    assert (record["Stage"], record["From"], record["To"]) == ("mail", sender, [])
    (logged,) = running.logged("message refused")
    assert (logged["sender"], logged["reply"]) == (sender, record["Reply"])


async def test_a_sender_that_must_log_in_first(serve, client, tmp_path):
    users = tmp_path / "users"
    users.write_text(f"ann:{cheap_hash('secret')}\n")
    running = await serve(
        SMTP_AUTH="required", SMTP_AUTH_INSECURE="true", SMTP_AUTH_USERS=str(users)
    )
    wire = await running.say_hello()
    assert await wire.ask(b"MAIL FROM:<a@x.test>\r\n") == [530]
    assert await wire.ask(b"AUTH PLAIN AGFubgB3cm9uZw==\r\n") == [535]
    first, second = await attempts(client, running)
    assert short(first)[:3] == ("mail", "a@x.test", [])
    assert short(second) == ("auth", "", [], "535 5.7.8 Authentication credentials invalid", "auth")


async def test_a_message_that_is_too_large(serve, client):
    running = await serve(SMTP_MAX_MESSAGE_SIZE="1024")
    wire = await running.say_hello()
    assert await wire.ask(START, 3) == [250, 250, 354]
    assert await wire.ask(b"x" * 990 + b"\r\n" + b"y" * 900 + b"\r\n.\r\n") == [552]
    (record,) = await attempts(client, running)
    assert short(record)[:3] == ("eod", "a@x.test", ["b@y.test"])
    assert record["Reason"] == "size"


async def test_a_message_for_nobody_is_an_attempt_for_each_recipient(serve, client):
    running = await serve(SMTP_RECIPIENTS="@good.test")
    wire = await running.say_hello()
    assert await wire.ask(START, 3) == [250, 550, 503]
    wire.close()
    await until(lambda: not running.server.roster.connections)
    (record,) = await attempts(client, running)
    assert record["Stage"] == "rcpt"
    (logged,) = running.logged("message refused")
    assert (logged["sender"], logged["recipient"]) == ("a@x.test", "b@y.test")


@pytest.mark.parametrize(("error", "code"), [(StoreError("no"), 451), (OSError("x"), 451)])
async def test_a_store_that_fails(serve, client, error, code):
    store = GatedStore()
    store.error = error
    store.gate.set()
    running = await serve(store)
    wire = await running.say_hello()
    assert await wire.ask(START, 3) == [250, 250, 354]
    assert await wire.ask(BODY) == [code]
    (record,) = await attempts(client, running, to="b@y.test")
    assert record["Stage"] == "eod"
    assert record["Reply"].startswith("451 4.3.0")


@pytest.mark.parametrize(
    ("octets", "stage", "to"),
    [
        (b"MAIL FROM:<a@x.test>\r\n", "mail", []),
        (START.removesuffix(b"DATA\r\n"), "rcpt", ["b@y.test"]),
        (START + b"half", "data", ["b@y.test"]),
    ],
)
@pytest.mark.parametrize("end", ["close", "quit", "timeout"])
async def test_a_transaction_that_is_broken_off(serve, client, octets, stage, to, end):
    running = await serve(SMTP_TIMEOUT="100")
    wire = await running.say_hello()
    if end == "quit" and stage != "data":
        octets += b"QUIT\r\n"
    await wire.send(octets)
    (connection,) = running.server.roster.connections
    await until(lambda: connection.session.state.transaction or end == "quit")
    await wire.ask(b"", octets.count(b"\n"))
    running.later(101) if end == "timeout" else wire.close()
    await until(lambda: not running.server.roster.connections)
    (record,) = await attempts(client, running)
    assert short(record)[:3] == (stage, "a@x.test", to)
    reasons = {"close": "client_gone", "timeout": "timeout"}
    assert record["Reason"] == reasons.get(end, "client_gone" if stage == "data" else "quit")
    assert record["Reply"][:3] == ("421" if end == "timeout" else "")


async def test_mail_that_is_stored_is_no_attempt(serve, client):
    running = await serve()
    wire = await running.say_hello()
    assert await wire.ask(START, 3) == [250, 250, 354]
    assert await wire.ask(BODY) == [250]
    assert await wire.ask(START.removesuffix(b"DATA\r\n") + b"RSET\r\nQUIT\r\n", 4) == [
        *(250, 250, 250, 221)
    ]
    await until(lambda: not running.server.roster.connections)
    assert await attempts(client, running) == []


# --- faults


async def fault(client, running, stage, action):
    asked = {"match": {}, "stage": stage, "action": action, "times": 1}
    answer = await client.post(f"{running.http}/api/v1/faults", json=asked)
    assert answer.status_code == 200


WHO = {
    "connect": ("", []),
    "ehlo": ("", []),
    "mail": ("a@x.test", []),
    "rcpt": ("a@x.test", ["b@y.test"]),
    "data": ("a@x.test", ["b@y.test"]),
    "eod": ("a@x.test", ["b@y.test"]),
}


@pytest.mark.parametrize("stage", WHO)
@pytest.mark.parametrize("action", ["reply", "reply5", "421", "drop", "stall"])
async def test_a_fault_is_an_attempt_with_its_transcript(serve, client, stage, action):
    running = await serve(SMTP_FAULTS="true")
    asked = {
        "reply": {"reply": "450 4.2.1 later"},
        "reply5": {"reply": "550 5.7.1 never"},
        "421": {"reply": "421 4.3.2 bye"},
    }
    await fault(client, running, stage, asked.get(action, {action: True}))
    wire = await running.connect(greet=False)
    await wire.send(b"EHLO c.test\r\n" + START)
    if stage == "eod":
        await wire.send(BODY)
    if action == "stall":
        await until(lambda: running.server.faults.held)
    wire.writer.write_eof()
    await wire.is_cut()
    await until(lambda: not running.server.roster.connections)
    found = await attempts(client, running)
    record = found[0]
    sender, to = WHO[stage]
    told = asked.get(action, {"reply": ""})["reply"]
    reason = "client_gone" if action == "stall" else "fault"
    assert record["Stage"] == stage
    assert (record["From"], record["To"]) == (sender, to)
    assert (record["Reply"], record["Reason"]) == (told, reason)
    transcript = record["Transcript"]
    if stage != "connect":
        assert "S: 220 localhost ESMTP PrixFixe" in transcript
        assert "C: EHLO c.test" in transcript
    if told:
        assert f"S: {told}" in transcript
    assert "hello" not in "".join(transcript)


async def test_a_transcript_has_no_secret_and_no_mail(serve, client):
    running = await serve(SMTP_FAULTS="true", SMTP_AUTH="any", SMTP_AUTH_INSECURE="true")
    wire = await running.say_hello()
    assert await wire.ask(b"AUTH LOGIN c2VjcmV0\r\n") == [334]
    assert await wire.ask(b"aHVzaA==\r\n") == [235]
    assert await wire.ask(START, 3) == [250, 250, 354]
    assert await wire.ask(BODY) == [250]
    assert await wire.ask(b"bogus \xff\0\r\n\r\nRCPT TO:<late@y.test>\r\n", 3) == [500, 500, 503]
    (record,) = await attempts(client, running)
    said = "\n".join(record["Transcript"])
    assert "C: AUTH LOGIN\n" in said
    assert "C: (a response of AUTH)\n" in said
    assert "C: (21 bytes of message data)\n" in said
    assert "C: bogus \ufffd\ufffd\n" in said
    assert "c2VjcmV0" not in said
    assert "aHVzaA" not in said
    assert "hello" not in said


def test_a_transcript_is_bounded():
    transcript = Transcript()
    for number in range(MAX_LINES + 5):
        transcript.heard(b"%d " % number + b"x" * 100_000)
    lines = transcript.lines()
    assert lines[0] == "(5 lines left out)"
    assert len(lines) == MAX_LINES + 1
    assert max(map(len, lines)) < 210
    assert lines[-1].endswith("x…")


def test_a_transcript_is_cut_between_characters():
    transcript = Transcript()
    for blanks in range(4):
        transcript.heard(b" " * blanks + "\U0001f4e7".encode() * 100)
    shown = [line.removeprefix("C: ").strip(" ") for line in transcript.lines()]
    assert shown == ["\U0001f4e7" * 50 + "…"] + ["\U0001f4e7" * 49 + "…"] * 3
    transcript.heard(b"\xff\x07\xf0\x9f")
    assert transcript.lines()[-1] == "C: \ufffd\ufffd\ufffd"


def test_a_transcript_takes_no_more_memory_for_wide_characters():
    transcript = Transcript()
    line = "\U0001f4e7".encode() + b"x" * 500
    tracemalloc.start()
    try:
        for _ in range(MAX_LINES):
            transcript.heard(line)
        assert tracemalloc.get_traced_memory()[0] < MAX_LINES * 256
    finally:
        tracemalloc.stop()


# --- finding them


async def test_attempts_are_found_by_whom_they_name_and_when(serve, client):
    running = await serve(SMTP_RECIPIENTS="@good.test")
    wire = await running.say_hello()
    for number in range(5):
        lines = b"MAIL FROM:<s%d@x.test>\r\nRCPT TO:<Bob%d@bad%d.test>\r\nRSET\r\n"
        await wire.ask(lines % (number, number, number % 2), 3)
    every = await attempts(client, running)
    assert len(every) == 5
    assert await attempts(client, running, to="bob3@BAD1.test") == [every[3]]
    assert await attempts(client, running, to="@bad1.test") == [every[1], every[3]]
    assert await attempts(client, running, **{"from": "s2@x.test"}) == [every[2]]
    assert await attempts(client, running, since=every[2]["ID"]) == every[3:]
    assert await attempts(client, running, since="2001-01-01T00:00:00Z") == every
    assert await attempts(client, running, since="2999-01-01T00:00:00Z") == []
    assert await attempts(client, running, limit=2) == every[3:]
    assert await attempts(client, running, limit=0) == []
    url = f"{running.http}/api/v1/attempts"
    assert (await client.get(url, params={"too": "x"})).status_code == 400
    assert (await client.get(url, params={"since": "yesterday"})).status_code == 400


async def test_attempts_are_bounded():
    now = 1000.0
    ids = iter(range(10**9))
    attempts = Attempts(lambda: (f"{next(ids):028x}", now))
    long = [f"{number}{'x' * 1000}@y.test" for number in range(1000)]
    for _ in range(MAX_ATTEMPTS + 10):
        attempts.add(Tried("rcpt", "a"), "s", "p", "h", None)
    assert len(attempts.recent()) == MAX_ATTEMPTS
    attempts.add(Tried("rcpt", "a" * 5000, long), "s", "p", "h" * 5000, None)
    last = attempts.recent()[-1]
    assert last.named == 1000
    assert len(last.tried.recipients) == 20
    assert max(map(len, (*last.tried.recipients, last.tried.sender, last.helo))) == 320
    now += MAX_AGE_SECONDS + 1
    assert attempts.recent() == []


@pytest.mark.parametrize("first", ["\u4e00", "\U0001f4e7"])
def test_attempts_are_bounded_in_memory(first):
    ids = iter(range(10**9))
    attempts = Attempts(lambda: (f"{next(ids):028x}", 1000.0))
    tracemalloc.start()
    try:
        for _ in range(800):
            names = [f"{first}{'x' * 300}{number:019d}" for number in range(20)]
            attempts.add(Tried("rcpt", names[0] + "s", names), "s" * 16, "p" * 20, "h" * 300, None)
        assert tracemalloc.get_traced_memory()[0] <= MAX_OCTETS * 1.05
        assert len(attempts.recent()) > 200
    finally:
        tracemalloc.stop()


def test_an_answer_holds_the_newest_attempts_that_fit(monkeypatch):
    monkeypatch.setattr(pieces, "PAGE_OCTETS", 1500)
    ids = iter(range(10**9))
    attempts = Attempts(lambda: (f"{next(ids):028x}", 1000.0))
    for number in range(20):
        attempts.add(Tried("mail", f"a{number}@x.test"), "s", "p", "h", None)
    newest = newest_first(attempts.recent())
    found = json.loads(pieces.listed("attempts", pieces.fitting(map(attempt_record, newest))))
    shown = [one["From"] for one in found["attempts"]]
    assert 3 < len(shown) < 10
    assert shown == [f"a{19 - at}@x.test" for at in range(len(shown))]


async def test_a_wait_in_vain_tells_what_was_refused(serve, client):
    running = await serve(SMTP_RECIPIENTS="@good.test")
    wire = await running.say_hello()
    for name in (b"ann", b"bob"):
        lines = b"MAIL FROM:<a@x.test>\r\nRCPT TO:<%b@bad.test>\r\nRSET\r\n" % name
        assert await wire.ask(lines, 3) == [250, 550, 250]

    async def refused(**asked):
        answer = await client.get(f"{running.http}/api/v1/wait", params={"timeout": 0, **asked})
        assert answer.status_code == 408
        return [one["To"][0][:3] for one in answer.json()["Refused"]]

    assert await refused(to="Bob@bad.test") == ["bob"]
    assert await refused(query="to:bob") == ["bob"]
    assert await refused(query="addressed:bad.test") == ["ann", "bob"]
    assert await refused(query="-to:bob subject:x") == ["ann"]
    assert await refused(**{"from": "a@x.test"}) == ["ann", "bob"]
    assert await refused(**{"from": "b@x.test"}) == []
    assert await refused(to="carol@bad.test") == []


async def test_the_token_guards_attempts(serve, client):
    running = await serve(SMTP_HTTP_TOKEN="secret")
    assert (await client.get(f"{running.http}/api/v1/attempts")).status_code == 401


async def test_a_small_answer_waits_for_no_reader_of_a_large_one(serve, client, monkeypatch):
    monkeypatch.setattr(made, "TOTAL_OCTETS", 0)
    running = await serve()
    wire = await running.say_hello()
    assert await wire.ask(b"MAIL FROM:<a@@>\r\n") == [501]
    assert len(await attempts(client, running)) == 1
    monkeypatch.setattr(made, "SMALL_OCTETS", 10)
    monkeypatch.setattr(shelf, "WAIT_SECONDS", 0.1)
    assert (await client.get(f"{running.http}/api/v1/attempts")).status_code == 503
