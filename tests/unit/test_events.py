"""The table of events, what is held to it, and one mail followed through the log."""

import ast
import base64
import io
import json
import re
from pathlib import Path

import jsonschema
import pytest

from prixfixe.auth.hashes import hash_password
from prixfixe.telemetry.events import EVENTS, FIELDS
from prixfixe.telemetry.log import build_log
from prixfixe.telemetry.log_throttle import MAX_RECORDS, WINDOW_SECONDS, LogThrottle
from prixfixe.telemetry.metrics_table import TABLE as METRICS
from tests.conftest import until
from tests.support import log_records as records

ROOT = Path(__file__).parents[2]
SCHEMA = jsonschema.Draft202012Validator(
    json.loads((ROOT / "deployment" / "logs.schema.json").read_text())
)
STOPPING = {
    "time": "2026-01-02T03:04:05.678Z",
    "level": "info",
    "event": "stopping",
    "sessions": 1,
}
ENDED = {
    **STOPPING,
    **dict.fromkeys(("session", "peer", "helo", "limit"), "x"),
    **dict.fromkeys(("messages", "errors"), 1),
    "event": "session ended",
    "tls": None,
    "user": "u",
    "end": "quit",
    "seconds": 0.5,
}
del ENDED["sessions"]


@pytest.mark.parametrize("record", [STOPPING, ENDED], ids=["stopping", "session ended"])
def test_a_right_record_has_no_fault(record):
    assert records.faults(record) == []
    SCHEMA.validate(record)


@pytest.mark.parametrize(
    "change",
    [
        {"event": "surprise"},
        {"surprise": 1},
        {"level": "warning"},
        {"time": "yesterday"},
        {"messages": "1"},
        {"messages": True},
        {"messages": None},
        {"seconds": "0.5"},
        {"end": "bored"},
        {"user": 5},
        {"helo": ...},
        {"event": ...},
    ],
    ids=str,
)
def test_a_wrong_record_is_found_by_hand_and_by_schema(change):
    wrong = {name: value for name, value in {**ENDED, **change}.items() if value is not ...}
    assert records.faults(wrong)
    assert not SCHEMA.is_valid(wrong)


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(SCHEMA.schema)


def test_no_event_but_the_tables_can_be_said():
    log = build_log("debug", "json", stream=io.StringIO())
    with pytest.raises(KeyError):
        log.say("surprise")


def test_every_event_of_the_table_is_said_somewhere_and_every_field_is_of_one():
    texts = {
        node.value
        for path in (ROOT / "prixfixe").rglob("*.py")
        if path.name != "events.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert [name for name in EVENTS if name not in texts] == []
    used = {name for event in EVENTS.values() for name in (*event.fields, *event.optional)}
    assert used == FIELDS.keys()
    assert all(set(event.nullable) <= set(event.fields) for event in EVENTS.values())


def calls_of_say():
    """Yield event, keywords, and whether there are more that cannot be read, of each call."""
    for path in (ROOT / "prixfixe").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "say" and node.args:
                name = node.args[0]
                if isinstance(name, ast.Constant) and name.value in EVENTS:
                    names = {keyword.arg for keyword in node.keywords}
                    yield name.value, names - {None}, None in names


def test_records_are_said_with_the_fields_of_the_table():
    calls = list(calls_of_say())
    assert len(calls) > 10
    for name, said, has_more in calls:
        event = EVENTS[name]
        assert said <= {*event.fields, *event.optional}, name
        assert has_more or said >= {*event.fields}, name


def test_sessions_end_as_the_metrics_say():
    (spec,) = [one for one in METRICS if one.name == "smtp_session_duration_seconds"]
    assert FIELDS["end"].values == spec.labels["end"]


# --- one mail, from connection to store


def of(running, **wanted):
    return [
        one
        for one in map(json.loads, running.records())
        if wanted.items() <= {name: one.get(name) for name in wanted}.items()
    ]


async def test_one_mail_can_be_followed_from_connection_to_store(start):
    running = await start(SMTP_HTTP_PORT="0")
    others = [await running.say_hello() for _ in range(3)]
    wire = await running.say_hello()
    await wire.ask(b"MAIL FROM:<a@x.test>\r\nRCPT TO:<b@y.test>\r\nDATA\r\n", 3)
    await wire.send(b"Subject: x\r\n\r\nx\r\n.\r\n")
    name = (await wire.reply()).decode().split()[-1]
    await wire.send(b"QUIT\r\n")
    await wire.rest()
    for other in others:
        await other.ask(b"QUIT\r\n")
    await until(lambda: not running.server.roster.connections)
    (kept,) = of(running, id=name)
    assert kept["event"] == "message kept"
    session = [one["event"] for one in of(running, session=kept["session"])]
    assert session == ["session began", "message kept", "session ended"]
    (message,) = running.messages
    assert message.id == name
    assert len({one["session"] for one in of(running, event="session began")}) == 4


async def test_a_refused_message_and_a_refused_login_name_their_session(start, tmp_path):
    (tmp_path / "users").write_text(f"u:{hash_password('right')}\n")
    running = await start(
        SMTP_AUTH="optional",
        SMTP_AUTH_INSECURE="1",
        SMTP_AUTH_USERS=str(tmp_path / "users"),
        SMTP_MAX_MESSAGE_SIZE="1024",
    )
    running.server.services.authenticator._sleep = lambda _seconds: _now()
    wire = await running.say_hello()
    assert await wire.ask(b"AUTH PLAIN AHdyb25nAHdyb25n\r\n") == [535]
    await wire.ask(b"MAIL FROM:<a@x.test>\r\nRCPT TO:<b@y.test>\r\nDATA\r\n", 3)
    assert await wire.ask(b"x" * 2000 + b"\r\n.\r\n") == [552]
    login, message = of(running, session=of(running, event="session began")[0]["session"])[1:]
    assert (login["event"], login["reason"]) == ("login refused", "rejected")
    assert (message["event"], message["reason"]) == ("message refused", "size")
    assert (message["sender"], message["recipient"]) == ("a@x.test", "b@y.test")
    assert message["reply"].startswith("552 5.3.4 ")
    assert "wrong" not in json.dumps(login)


@pytest.mark.parametrize(
    ("addresses", "bob"), [("full", "bob@y.test"), ("domain", "*@y.test"), ("none", "*")]
)
async def test_why_bob_got_no_mail_is_one_search(start, addresses, bob):
    running = await start(SMTP_RECIPIENTS="amy@y.test", SMTP_LOG_ADDRESSES=addresses)
    wire = await running.say_hello()
    assert await wire.ask(b"MAIL FROM:<a@x.test>\r\nRCPT TO:<amy@y.test>\r\n", 2) == [250, 250]
    assert await wire.ask(b"RCPT TO:<bob@y.test>\r\nRCPT TO:bob\r\nRCPT TO:<\x1b>\r\n", 3)
    first, second, third = running.logged("recipient refused")
    assert first["recipient"] == bob
    assert first["reply"].startswith("550 5.1.1 ")
    assert second["recipient"] == third["recipient"] != bob or addresses == "none"
    assert "bob@" not in json.dumps(first) or addresses == "full"


async def _now():
    return None


# --- floods


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_records_beyond_the_bound_are_counted_and_told():
    clock, told = Clock(), []
    throttle = LogThrottle(clock, lambda *what: told.append(what))
    admitted = [throttle.allows("a") for _ in range(MAX_RECORDS + 5)]
    assert admitted == [True] * MAX_RECORDS + [False] * 5
    assert throttle.allows("b")
    assert told == []
    clock.now += WINDOW_SECONDS
    assert throttle.allows("a")
    assert told == [("a", 5)]
    throttle.end_window()
    assert told == [("a", 5)]


async def test_refused_connections_flood_no_log(start):
    running = await start(SMTP_MAX_CONNECTIONS="1", SMTP_STRESS_TIMEOUT="0")
    first = await running.say_hello()
    for _ in range(3 * MAX_RECORDS):
        refused = await running.connect(greet=False)
        assert (await refused.reply()).startswith(b"421")
    assert (await first.ask(b"NOOP\r\n")) == [250]

    def told():  # of each window, when it is over
        withheld = of(running, event="records withheld", of="connection refused")
        return len(written()) + sum(one["suppressed"] for one in withheld)

    def written():
        return of(running, event="connection refused")

    await until(lambda: told() >= 3 * MAX_RECORDS)
    assert told() == 3 * MAX_RECORDS
    assert len(written()) < 3 * MAX_RECORDS


async def test_what_is_withheld_is_told_though_nothing_follows(start):
    running = await start()
    log = running.server._log
    for _ in range(MAX_RECORDS + 2):
        log.say("library warning", logger="l", text="t")
    await until(
        lambda: '"records withheld","of":"library warning","suppressed":2' in running.log.getvalue()
    )


async def test_messages_kept_are_never_withheld(start):
    running = await start()
    wire = await running.say_hello()
    count = 5 * MAX_RECORDS
    for _ in range(count):
        await wire.ask(b"MAIL FROM:<a@x.test>\r\nRCPT TO:<b@y.test>\r\nDATA\r\n", 3)
        assert await wire.ask(b"x\r\n.\r\n") == [250]
    assert len(of(running, event="message kept")) == count


@pytest.mark.parametrize("path", ["*.md", "docs/*.md", "deployment/prometheus/alerts.yml"])
def test_documents_speak_of_records_there_are(path):
    text = " ".join(" ".join(one.read_text().split()) for one in sorted(ROOT.glob(path)))
    named = re.findall(r"(?:record|records|event) `([a-z ]+)`|`([a-z ]+)` records?\b", text)
    assert named
    assert {one or other for one, other in named} <= EVENTS.keys()


# --- addresses


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize(
    ("addresses", "shown"),
    [
        ("full", ("ann.lee@a.test", "bob.ray@b.test", "joe.fox@c.test")),
        ("domain", ("*@a.test", "*@b.test", "*@c.test")),
        ("none", ("*", "*", "*")),
    ],
)
async def test_addresses_are_shown_as_the_setting_says(start, monkeypatch, form, addresses, shown):
    def build(level, _form, **options):
        return build_log(level, form, **options)

    monkeypatch.setattr("tests.conftest.build_log", build)
    running = await start(
        SMTP_LOG_ADDRESSES=addresses, SMTP_AUTH="any", SMTP_AUTH_INSECURE="1", SMTP_HTTP_PORT="0"
    )
    wire = await running.say_hello()
    login = base64.b64encode(b"\0joe.fox@c.test\0secret")
    assert await wire.ask(b"AUTH PLAIN " + login + b"\r\n") == [235]
    say = b"MAIL FROM:<%s>\r\nRCPT TO:<bob.ray@b.test>\r\nDATA\r\n"
    for sender in (b"ann.lee@a.test", b""):
        await wire.ask(say % sender, 3)
        assert await wire.ask(b"x\r\n.\r\n") == [250]
    await wire.ask(b"QUIT\r\n")
    await until(lambda: not running.server.roster.connections)
    text = "\n".join(running.records())
    assert all(one in text for one in shown)
    people = [one for one in ("ann.lee", "bob.ray", "joe.fox") if one in text]
    assert bool(people) == (addresses == "full")
    assert ('"sender":""' if form == "json" else "sender= ") in text  # a bounce stays one
