import asyncio
import io
import json
import logging
import threading
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from prixfixe.mail.message import Envelope, Message, Recipient
from prixfixe.telemetry.log import build_log
from prixfixe.telemetry.log_format import Stamp, clean, kept_line
from prixfixe.telemetry.log_output import DEFER_SECONDS, MAX_DEFERRED, LineSink
from tests.conftest import until

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


ADDRESSES = pytest.mark.parametrize("addresses", ["full", "domain", "none"])


@ADDRESSES
@pytest.mark.parametrize("sender", ["a@x.test", HOSTILE, HOSTILE + "@x.test", ""])
def test_the_fast_record_equals_the_pipelines(sender, addresses):
    log, stream = logged(addresses=addresses)
    log.message_kept(message(sender), SESSION, 0.00123)
    log._say_kept(message(sender), SESSION, 0.00123)
    fast, slow = map(json.loads, stream.getvalue().splitlines())
    fast.pop("time"), slow.pop("time")
    assert list(fast) == list(slow)
    assert fast == slow
    assert fast["ms"] == 1.23


@pytest.mark.parametrize("helo", ["c.test", HOSTILE, ""])
@pytest.mark.parametrize("user", [None, HOSTILE, "u@x.test"])
@ADDRESSES
def test_the_fast_record_of_a_session_equals_the_pipelines(helo, user, addresses):
    log, stream = logged(addresses=addresses)
    dialogue = SimpleNamespace(**{**vars(SESSION), "helo": helo, "user": user})
    log.session_ended(dialogue, "quit", 0.12345)
    log._say_ended(dialogue, "quit", 0.12345)
    fast, slow = map(json.loads, stream.getvalue().splitlines())
    fast.pop("time"), slow.pop("time")
    assert list(fast) == list(slow)
    assert fast == slow
    assert fast["seconds"] == 0.123


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
    logging.getLogger("uvicorn.error").error("lost")
    slow, lost = records_in(stream)
    assert (slow["event"], slow["logger"], slow["text"]) == (
        "library warning",
        "asyncio",
        "slow loop",
    )
    assert (lost["level"], lost["logger"]) == ("error", "uvicorn.error")


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

    sink = LineSink(Stream(), asyncio.get_running_loop())
    sink.msg("a")
    sink.msg("b")
    assert writes == []
    await asyncio.sleep(0)
    assert writes == ["a\nb\n"]


def test_a_reader_that_went_away_stops_nothing():
    stream = io.StringIO()
    stream.close()
    LineSink(stream).msg("x")


def test_clean_leaves_other_values_alone():
    assert clean(5) == 5
    assert clean("plain") == "plain"


def test_kept_line_is_json_without_recipients():
    bare = Message("ID", 1.0, Envelope("", ()), b"")
    assert json.loads(kept_line(bare, "", 0.0, "now", None))["recipient"] == ""


def test_stamp_says_the_time_as_datetime_does():
    stamp = Stamp()
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
    sink = LineSink(stream, asyncio.get_running_loop())
    sink.defer("a")
    await asyncio.sleep(0)
    assert stream.getvalue() == ""
    sink.msg("b")
    sink.defer("c")
    await asyncio.sleep(0)
    assert stream.getvalue() == "a\nb\nc\n"
    assert stream.writes == 1


async def test_deferred_lines_are_bounded_in_time_and_number():
    stream = Counting()
    sink = LineSink(stream, asyncio.get_running_loop())
    for _ in range(MAX_DEFERRED + 1):
        sink.defer("x")
    assert stream.getvalue().count("x") == MAX_DEFERRED
    await asyncio.sleep(2 * DEFER_SECONDS)
    assert stream.getvalue().count("x") == MAX_DEFERRED + 1
    assert stream.writes == 2


async def test_lines_of_other_threads_lose_no_wake_up():
    stream, loop = io.StringIO(), asyncio.get_running_loop()
    sink = LineSink(stream, loop)

    def other():
        for number in range(1000):
            sink.msg(f"other {number}")

    thread = threading.Thread(target=other)
    thread.start()
    for number in range(1000):
        sink.msg(f"own {number}")
        await asyncio.sleep(0)
    thread.join()
    await until(lambda: stream.getvalue().count("\n") == 2000)
    lines = stream.getvalue().splitlines()
    for name in ("own", "other"):
        assert [one for one in lines if one.startswith(name)] == [
            f"{name} {n}" for n in range(1000)
        ]


async def test_only_the_loop_s_thread_touches_what_waits():
    sink = LineSink(io.StringIO(), asyncio.get_running_loop())
    thread = threading.Thread(target=sink.msg, args=("x",))
    thread.start()
    thread.join()
    assert sink._lines == []
    await until(lambda: sink._stream.getvalue() == "x\n")
