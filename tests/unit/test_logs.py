import asyncio
import io
import json
import logging

import pytest

from prixfixe.logs import LineSink, build_log, clean, kept_line
from prixfixe.message import Envelope, Message, Recipient

HOSTILE = 'a"b\\\r\n{"level":"error"}\x1b[2J\u2028é' + "x" * 300


def message(sender="a@x.test"):
    envelope = Envelope(sender, (Recipient("b@y.test"),), peer="127.0.0.1:1")
    return Message("ID", 1.0, envelope, b"12345")


def logged(**options):
    stream = io.StringIO()
    return build_log(
        options.pop("level", "info"), options.pop("form", "json"), stream=stream
    ), stream


@pytest.mark.parametrize("sender", ["a@x.test", HOSTILE, ""])
def test_the_fast_record_equals_the_pipelines(sender):
    log, stream = logged()
    log.message_kept(message(sender), 0.00123)
    log._say_kept(message(sender), 0.00123)
    fast, slow = map(json.loads, stream.getvalue().splitlines())
    fast.pop("time"), slow.pop("time")
    assert list(fast) == list(slow)
    assert fast == slow
    assert fast["ms"] == 1.23


@pytest.mark.parametrize("form", ["json", "text"])
def test_client_text_cannot_forge_a_record(form):
    log, stream = logged(form=form)
    log.info("event", text=HOSTILE)
    line = stream.getvalue()
    assert line.count("\n") == 1
    assert line.endswith("\n")
    assert line[:-1].isprintable()
    assert len(line) < 800


def test_text_quotes_what_has_blanks():
    log, stream = logged(form="text")
    log.warning("event", a="b c", d=1)
    assert stream.getvalue().rstrip().endswith('warning event a="b c" d=1')


def test_level_filters():
    log, stream = logged(level="warning")
    log.info("no")
    log.message_kept(message(), 0.1)
    log.warning("yes")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["yes"]


def test_records_are_counted():
    counts = []
    log = build_log("info", "json", stream=io.StringIO())
    log.count_with(counts.append)
    log.message_kept(message(), 0.1)
    log.error("x")
    assert counts == ["info", "error"]


def test_libraries_are_forwarded_and_aiosmtpd_is_silent():
    log, stream = logged()
    log.forward_libraries()
    logging.getLogger("asyncio").warning("slow %s", "loop")
    for name in ("mail.log", "mail.debug"):
        logging.getLogger(name).error("AUTH PLAIN c2VjcmV0")
    record = json.loads(stream.getvalue())
    assert (record["event"], record["logger"]) == ("slow loop", "asyncio")


def test_a_defect_is_recorded_with_its_traceback():
    log, stream = logged()
    try:
        1 / 0
    except ZeroDivisionError as error:
        log.unexpected("peer", error)
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
    from datetime import UTC, datetime

    bare = Message("ID", 1.0, Envelope("", ()), b"")
    assert json.loads(kept_line(bare, 0.0, datetime.now(UTC)))["recipient"] == ""
