import asyncio
import io
import json
import logging
import re
import threading
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prixfixe.mail.message import Envelope, Message, Recipient
from prixfixe.telemetry.events import EVENTS, FIELDS
from prixfixe.telemetry.log import build_log
from prixfixe.telemetry.log_format import Timestamp, sanitize
from prixfixe.telemetry.log_output import DEFER_SECONDS, MAX_DEFERRED, LineBuffer
from tests.conftest import until
from tests.support import log_records as records

HOSTILE = 'a"b\\\r\n{"level":"error"}\x1b[2J\u2028é' + "x" * 300


SESSION = SimpleNamespace(
    session_id="0123456789abcdef",
    peer="127.0.0.1:1",
    mechanism="PLAIN",
    helo="c.test",
    tls=None,
    user=None,
    messages=3,
    errors=1,
    limit="x",
)


def message(sender="a@x.test"):
    envelope = Envelope(sender, (Recipient("b@y.test"),), peer="127.0.0.1:1")
    return Message("ID", 1.0, envelope, b"12345")


def logged(level="info", form="json", **options):
    stream = io.StringIO()
    return build_log(level, form, stream=stream, **options), stream


def records_in(stream):
    return [json.loads(line) for line in stream.getvalue().splitlines()]


TIME = "2026-01-02T03:04:05.678Z"
PAIR = r' ([a-z_]+)=("(?:[^"\\]|\\.)*"|[^ "]*)'


def shown(name, value, mask):
    """Return what a record has for a field's value, by the rules of docs/logs.md."""
    if FIELDS[name].type == "number":
        return round(value, FIELDS[name].decimals)
    if FIELDS[name].type == "address":
        value = mask(value)
    if not isinstance(value, str) or name == "trace":
        return value
    cut = value[:256] + "…" if len(value) > 256 else value
    return cut if cut.isprintable() else cut.encode("unicode_escape").decode()


MASKS = {
    "full": lambda address: address,
    "domain": lambda address: address and re.sub(r"(?s)^.*(@)|^.+$", r"*\1", address, count=1),
    "none": lambda address: address and "*",
}
VALUES = {
    "string": st.text() | st.sampled_from(["", "plain", "two words", HOSTILE, '\\"', "x" * 257]),
    "address": st.emails()
    | st.sampled_from(["", "a@x.test", "local", HOSTILE, HOSTILE + "@x.test"]),
    "integer": st.integers(),
    "number": st.floats(0, 1e6, allow_nan=False),
    "boolean": st.booleans(),
}


@st.composite
def said(draw):
    """Return an event and values for its fields: also null and absent ones."""
    name = draw(st.sampled_from(sorted(EVENTS)))
    event = EVENTS[name]
    fields = {}
    for field in (*event.fields, *event.optional):
        values = VALUES[FIELDS[field].type]
        fields[field] = draw(st.none() | values if field in event.nullable else values)
    absent = draw(st.sets(st.sampled_from(event.optional or ("none",))))
    return name, {field: value for field, value in fields.items() if field not in absent}


@given(said(), st.sampled_from(sorted(MASKS)))
def test_a_json_record_has_what_was_said(one, addresses):
    name, fields = one
    log, stream = logged("debug", addresses=addresses)
    log.say(name, **fields)
    log.flush()
    (record,) = records_in(stream)
    assert stream.getvalue().isascii()
    assert list(record)[:3] == ["time", "level", "event"]
    assert (record.pop("level"), record.pop("event")) == (EVENTS[name].level, name)
    del record["time"]
    assert record == {
        field: pytest.approx(shown(field, value, MASKS[addresses]), abs=0.002)
        if FIELDS[field].type == "number"
        else shown(field, value, MASKS[addresses])
        for field, value in fields.items()
    }


def in_text(value):
    """Return how a text record writes a value, without quotes."""
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)


@given(said(), st.sampled_from(sorted(MASKS)))
def test_a_text_record_has_what_was_said_and_nothing_of_what_is_absent(one, addresses):
    name, fields = one
    trace = fields.pop("trace", None)
    log, stream = logged("debug", "text", addresses=addresses)
    log.say(name, **fields, **({} if trace is None else {"trace": trace}))
    log.flush()
    line = stream.getvalue().removesuffix("\n" if trace is None else f"\n{trace}\n")
    assert line.isprintable()
    head, pairs = line[: len(f"{TIME} {'':8}{name}")], line[len(f"{TIME} {'':8}{name}") :]
    assert head[len(TIME) :] == f" {EVENTS[name].level:8}{name}"
    assert re.fullmatch(rf"({PAIR})*", pairs)
    found = {
        field: json.loads(value) if value[:1] == '"' else value
        for field, value in re.findall(PAIR, pairs)
    }
    assert found.keys() == {field for field, value in fields.items() if value is not None}
    for field, value in found.items():
        wanted = shown(field, fields[field], MASKS[addresses])
        if FIELDS[field].type == "number":
            assert float(value) == pytest.approx(wanted, abs=0.002)
        else:
            assert value == in_text(wanted)


def test_text_says_nothing_of_a_field_without_a_value():
    log, stream = logged(form="text")
    log.session_ended(SESSION, "quit", 0.5)
    log.flush()
    said = stream.getvalue().split(" session ended ")[1]
    assert said == (
        "session=0123456789abcdef peer=127.0.0.1:1 helo=c.test "
        "messages=3 errors=1 limit=x end=quit seconds=0.500\n"
    )


@pytest.mark.parametrize(("error", "told"), [(None, "kept=true"), (OSError("x"), "kept=false")])
def test_text_says_true_and_false_as_json_does(error, told):
    log, stream = logged(form="text")
    log.stored_late(message(), SESSION, error)
    assert told in stream.getvalue()


def test_what_may_be_absent_is_text():
    """The formats know no other absent value."""
    for event in EVENTS.values():
        for name in (*event.optional, *event.nullable):
            assert FIELDS[name].type in {"string", "address"}


@pytest.mark.parametrize("fields", [{}, {"what": "tls", "reason": "x"}], ids=["missing", "unknown"])
@pytest.mark.parametrize("form", ["json", "text"])
def test_a_record_with_other_fields_than_the_table_s_is_refused(form, fields):
    log, _ = logged(form=form)
    with pytest.raises(TypeError, match=r"what|reason"):
        log.say("reloaded", **fields)


@pytest.mark.parametrize("sender", ["a@x.test", HOSTILE, ""])
def test_the_record_of_a_message_says_what_it_was(sender):
    log, stream = logged()
    log.message_kept(message(sender), SESSION, 0.00123)
    log.flush()
    (record,) = records_in(stream)
    assert records.faults(record) == []
    assert record == {
        "time": record["time"],
        "level": "info",
        "event": "message kept",
        "session": SESSION.session_id,
        "id": "ID",
        "peer": "127.0.0.1:1",
        "sender": shown("sender", sender, MASKS["full"]),
        "recipients": 1,
        "recipient": "b@y.test",
        "size": 5,
        "protocol": "ESMTP",
        "ms": 1.23,
    }


@pytest.mark.parametrize("helo", ["c.test", HOSTILE, ""])
@pytest.mark.parametrize("user", [None, HOSTILE, "u@x.test"])
def test_the_record_of_a_session_says_what_it_was(helo, user):
    log, stream = logged()
    session = SimpleNamespace(**{**vars(SESSION), "helo": helo, "user": user})
    log.session_ended(session, "quit", 0.12345)
    log.flush()
    (record,) = records_in(stream)
    assert records.faults(record) == []
    assert record == {
        "time": record["time"],
        "level": "info",
        "event": "session ended",
        "session": SESSION.session_id,
        "peer": "127.0.0.1:1",
        "helo": shown("helo", helo, MASKS["full"]),
        "tls": None,
        "user": user and shown("user", user, MASKS["full"]),
        "messages": 3,
        "errors": 1,
        "limit": "x",
        "end": "quit",
        "seconds": 0.123,
    }


@pytest.mark.parametrize("form", ["json", "text"])
def test_client_text_cannot_forge_a_record(form):
    log, stream = logged(form=form)
    log.say("setting without effect", reason=HOSTILE)
    line = stream.getvalue()
    assert line.count("\n") == 1
    assert line.endswith("\n")
    assert line[:-1].isprintable()
    assert len(line) < 800


def test_text_quotes_what_has_blanks():
    log, stream = logged(form="text")
    log.say("not reloaded", what="tls", reason="b c")
    assert stream.getvalue().rstrip().endswith('error   not reloaded what=tls reason="b c"')


def test_level_filters():
    log, stream = logged(level="warning")
    log.say("stopped")
    log.message_kept(message(), SESSION, 0.1)
    log.message_deferred(message(), SESSION, "full")
    assert [one["event"] for one in records_in(stream)] == ["message deferred"]


def test_records_are_counted():
    counts = []
    log = build_log("info", "json", stream=io.StringIO())
    log.count_with(counts.append)
    log.message_kept(message(), SESSION, 0.1)
    log.say("not reloaded", what="tls", reason="x")
    assert counts == ["info", "error"]


def test_libraries_are_forwarded_and_aiosmtpd_is_silent():
    log, stream = logged()
    log.forward_libraries()
    logging.getLogger("asyncio").warning("slow %s", "loop")
    for name in ("mail.log", "mail.debug"):
        logging.getLogger(name).error("AUTH PLAIN c2VjcmV0")
    logging.getLogger("prixfixe.http").error("lost")
    slow, lost = records_in(stream)
    assert (slow["event"], slow["logger"], slow["text"]) == (
        "library warning",
        "asyncio",
        "slow loop",
    )
    assert (lost["level"], lost["logger"]) == ("error", "prixfixe.http")


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_traceback_of_a_library_is_in_its_record(form):
    log, stream = logged(form=form)
    log.forward_libraries()
    try:
        1 / 0
    except ZeroDivisionError:
        logging.getLogger("prixfixe.http").exception("Exception in ASGI application\n")
    text = stream.getvalue()
    if form == "json":
        (record,) = records_in(stream)
        assert records.faults(record) == []
        assert record["event"] == "library error"
        text = f"{record['text']}\n{record['trace']}"
    assert "Exception in ASGI application" in text.partition("\n")[0]
    assert text.endswith("ZeroDivisionError: division by zero\n" + "\n" * (form == "text"))


def test_a_defect_is_recorded_with_its_traceback():
    log, stream = logged()
    try:
        1 / 0
    except ZeroDivisionError as error:
        log.unexpected(error, SESSION)
    assert "test_logs.py" in json.loads(stream.getvalue())["trace"]


async def test_lines_of_one_turn_leave_together():
    writes = []

    class Stream(io.StringIO):
        def write(self, text):
            writes.append(text)
            return len(text)

    lines = LineBuffer(Stream(), asyncio.get_running_loop())
    lines.add("a")
    lines.add("b")
    assert writes == []
    await asyncio.sleep(0)
    assert writes == ["a\nb\n"]


def test_a_reader_that_went_away_stops_nothing():
    stream = io.StringIO()
    stream.close()
    LineBuffer(stream).add("x")


def test_sanitize_leaves_plain_text_alone():
    assert sanitize("plain") == "plain"


def test_a_message_without_recipients_is_recorded():
    log, stream = logged()
    log.message_kept(Message("ID", 1.0, Envelope("", ()), b""), SESSION, 0.0)
    assert records_in(stream)[0]["recipient"] == ""


def test_a_timestamp_says_the_time_as_datetime_does():
    stamp = Timestamp()
    for now in (0.0, 1.5, 1.5004, 1.999999, 2.0, 951782400.25, 4102444799.999):
        exact = datetime.fromtimestamp(int(now * 1000) / 1000, UTC)
        assert stamp(now) == exact.isoformat(timespec="milliseconds")[:-6] + "Z"


class Counting(io.StringIO):
    def __init__(self):
        super().__init__()
        self.writes = 0

    def write(self, text):
        self.writes += 1
        return super().write(text)


async def test_deferred_lines_leave_in_order_with_the_next_that_may_not_wait():
    stream = Counting()
    lines = LineBuffer(stream, asyncio.get_running_loop())
    lines.add_deferred("a")
    await asyncio.sleep(0)
    assert stream.getvalue() == ""
    lines.add("b")
    lines.add_deferred("c")
    await asyncio.sleep(0)
    assert stream.getvalue() == "a\nb\nc\n"
    assert stream.writes == 1


async def test_deferred_lines_are_bounded_in_time_and_number():
    stream = Counting()
    lines = LineBuffer(stream, asyncio.get_running_loop())
    for _ in range(MAX_DEFERRED + 1):
        lines.add_deferred("x")
    assert stream.getvalue().count("x") == MAX_DEFERRED
    await asyncio.sleep(2 * DEFER_SECONDS)
    assert stream.getvalue().count("x") == MAX_DEFERRED + 1
    assert stream.writes == 2


async def test_lines_of_other_threads_lose_no_wake_up():
    stream, loop = io.StringIO(), asyncio.get_running_loop()
    lines = LineBuffer(stream, loop)

    def other():
        for number in range(1000):
            lines.add(f"other {number}")

    thread = threading.Thread(target=other)
    thread.start()
    for number in range(1000):
        lines.add(f"own {number}")
        await asyncio.sleep(0)
    thread.join()
    await until(lambda: stream.getvalue().count("\n") == 2000)
    lines = stream.getvalue().splitlines()
    for name in ("own", "other"):
        assert [one for one in lines if one.startswith(name)] == [
            f"{name} {n}" for n in range(1000)
        ]


async def test_only_the_loop_s_thread_touches_what_waits():
    lines = LineBuffer(io.StringIO(), asyncio.get_running_loop())
    thread = threading.Thread(target=lines.add, args=("x",))
    thread.start()
    thread.join()
    assert lines._lines == []
    await until(lambda: lines._stream.getvalue() == "x\n")
