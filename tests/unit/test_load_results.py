"""What is told of outcomes: percentiles, sums, JSON there and back, table, page, what is kept."""

import itertools
import json
import re
import sys
from base64 import b64decode
from collections import Counter

import pytest

from prixfixe import __version__
from prixfixe.load import Outcome, Plan, Run, as_json, plots
from prixfixe.load.histogram import Histogram
from prixfixe.load.kept import faults, listing
from prixfixe.load.outcome import merged
from prixfixe.load.page import as_html, told
from prixfixe.load.post import message
from prixfixe.load.report import as_table
from prixfixe.load.results import FormatError, read


def outcome_of(latencies=(0.5,), codes=(), errors=(), **fields):
    made = Outcome(seconds=2.0, **fields)
    for number, latency in enumerate(latencies):
        made.accept(1000, latency, number % 2)
    for code in codes:
        made.refuse(code, 1)
    for name in errors:
        made.fail(name, 1)
    return made


def run_of(host="127.0.0.1", **fields):
    return Run.of(Plan(host, 25, login=("user", "hush")), outcome_of(**fields))


# --- histogram and sums


@pytest.mark.parametrize("percent", [0, 1, 50, 99, 100])
def test_percentiles_are_never_below_nor_a_thousandth_above(percent):
    histogram = Histogram()
    for n in range(1, 101):
        histogram.record(n / 7)
    exact = max(1, percent) / 7
    assert exact - 1e-6 <= histogram.percentile(percent) <= exact * 1.001


def test_nothing_has_no_percentile():
    assert Histogram().percentile(50) != Histogram().percentile(50)
    assert "latency_ms p50          -" in as_table([("x", Outcome())])


def test_a_sum_has_all_of_each_and_counts_time_once():
    first = outcome_of([0.1, 0.2], codes=[451], began=100.0)
    beside = outcome_of([0.3], errors=["EOFError"], began=101.0)
    later = outcome_of([0.4], began=110.0)
    total = merged([later, first, beside])
    assert (total.accepted, total.refused, total.failed, total.octets) == (4, 1, 1, 4000)
    assert total.seconds == 5.0  # 100 to 103 and 110 to 112
    assert total.throughput == {0: 1, 1: 2, 10: 1}
    assert total.trouble == {1: 1, 2: 1}
    assert len(total.latencies) == 4
    assert merged([]).accepted == 0


# --- JSON


def test_json_is_read_back_as_it_was():
    run = run_of(latencies=[0.001, 0.5, 0.5, 70.0], codes=[451, 552], errors=["EOFError"])
    [again] = read(as_json([run]))
    assert again == Run(run.target, json.loads(json.dumps(run.plan)), again.outcome)
    for name in ("codes", "errors", "octets", "began", "seconds", "throughput", "ticks", "trouble"):
        assert getattr(again.outcome, name) == getattr(run.outcome, name), name
    assert again.outcome.latencies.buckets == run.outcome.latencies.buckets


def test_json_tells_the_sum_and_no_password():
    text = as_json([run_of(), run_of(host="::1", latencies=[])])
    told = json.loads(text)
    assert (told["version"], told["accepted"], told["messages_per_second"]) == (1, 1, 0.5)
    assert [one["target"] for one in told["runs"]] == ["127.0.0.1:25", "[::1]:25"]
    assert told["runs"][0]["plan"]["user"] == "user"
    assert "hush" not in text


def test_hdrhistogram_decodes_what_json_has_of_it():
    from hdrh.histogram import HdrHistogram

    latencies = [n / 1000 for n in range(1, 1001)]
    [record] = json.loads(as_json([run_of(latencies=latencies)]))["runs"]
    decoded = HdrHistogram.decode(record["hdrhistogram"])
    assert decoded.get_total_count() == 1000
    for percent in (50, 90, 99, 99.9):
        ours = outcome_of(latencies).percentile(percent) * 1e6
        assert decoded.get_value_at_percentile(percent) == pytest.approx(ours, rel=0.001)


def test_json_needs_no_hdrhistogram(monkeypatch):
    monkeypatch.setitem(sys.modules, "hdrh", None)
    text = as_json([run_of()])
    assert json.loads(text)["runs"][0]["hdrhistogram"] is None
    assert read(text)[0].outcome.accepted == 1


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"version": 1}', '{"version": 1, "runs": [{"target": "x"}]}', "7"]
)
def test_what_is_no_result_is_refused(text):
    with pytest.raises(FormatError, match="prixfixe load --json"):
        read(text)


def test_a_later_version_is_refused_by_its_number():
    with pytest.raises(FormatError, match="version 1, not 2"):
        read('{"version": 2, "runs": []}')


def test_names_of_a_result_cannot_drive_a_terminal():
    text = as_json([run_of(errors=["bad"])]).replace('"bad"', '"\\u001b[2J"')
    [again] = read(text)
    assert list(again.outcome.errors) == ["?[2J"]


# --- table


def test_a_table_of_one_has_lines():
    lines = as_table([("x", outcome_of(codes=[451]))]).splitlines()
    assert "accepted                1" in lines
    assert "codes 451               1" in lines
    assert any(line.startswith("latency_ms p50          500.") for line in lines)


def test_a_table_of_several_has_a_row_each_and_their_sum():
    table = as_table([("one", outcome_of([0.5] * 3)), ("two", outcome_of([], errors=["EOFError"]))])
    head, one, two, both, *rest = table.splitlines()
    assert head.split()[:4] == ["accepted", "refused", "failed", "seconds"]
    assert one.split()[:4] == ["one", "3", "0", "0"]
    assert two.split()[-1] == "-"
    assert both.split()[:4] == ["all", "3", "0", "1"]
    assert "errors EOFError         1" in rest


# --- page


def images(page):
    return [b64decode(data).decode() for data in re.findall(r"svg\+xml;base64,([^\"]+)", page)]


def test_a_page_holds_its_drawings_and_asks_for_nothing_else():
    page = as_html([("one", outcome_of([0.1] * 200, codes=[451])), ("two", outcome_of())])
    latency, throughput, troubles = images(page)
    assert "percentile" in latency
    assert "messages a second" in throughput
    assert "code 451" in troubles
    assert all("one" in drawing and "two" in drawing for drawing in (latency, throughput))
    outside = re.findall(r"(?:src|href)=\"(?!data:)[^\"]*", page)
    assert (outside, "<script" in page, "@import" in page) == ([], False, False)


def test_a_page_tells_what_was_measured_where_and_when():
    run = run_of(began=1_764_000_000.0)
    [line] = told(read(as_json([run])))
    assert line.startswith("2025-11-24 16:00:00 UTC: 127.0.0.1:25, 100 messages of 1,024 bytes")
    assert f"prixfixe {__version__}" in line
    assert "processors" in line
    assert line in as_html([("x", run.outcome)], facts=[line])
    by_the_clock = Run.of(Plan(rate=50.0, starttls=True), outcome_of())
    assert "50 messages a second by the clock, starttls" in told([by_the_clock])[0]


def test_the_rate_is_the_same_wherever_it_is_told():
    outcome = outcome_of([0.001] * 100)
    outcome.seconds = 0.027391
    run = Run.of(Plan(), outcome)
    text = as_json([run])
    rate = json.loads(text)["messages_per_second"]
    assert json.loads(as_json(read(text)))["messages_per_second"] == rate == 3650.8
    table = as_table([("a", read(text)[0].outcome), ("b", outcome_of([]))])
    assert "3650.8" in table
    assert "0.0274" in table  # and no 0.0 beside it


@pytest.mark.parametrize(
    ("ends", "width", "rates"),
    [
        ([0.01, 0.02, 0.06], 0.05, [40.0, 20.0]),
        ([0.0, 1.0, 1.01, 2.04], 1.0, [1.0, 3 / 1.05]),  # no bin of 50 ms that looks like a fall
        ([0.3, 0.3], 0.1, [0.0, 0.0, 2 / 0.15]),  # half a bin belongs to the one before
    ],
)
def test_bins_have_the_rate_of_their_own_length(ends, width, rates):
    outcome = Outcome()
    for at in ends:
        outcome.accept(1, 0.001, at)
    edges, found = plots._rates(outcome, width)
    assert found == pytest.approx(rates)
    assert edges[0] == 0
    assert len(edges) == len(found) + 1
    spans = [after - before for before, after in itertools.pairwise(edges)]
    assert sum(rate * span for rate, span in zip(found, spans, strict=True)) == pytest.approx(
        len(ends)
    )


@pytest.mark.parametrize(("seconds", "width"), [(0.03, 0.05), (5, 0.1), (60, 1.0), (3600, 60.0)])
def test_there_are_many_bins_and_never_too_many(seconds, width):
    assert plots._width(seconds) == width


def test_results_of_seconds_alone_are_still_drawn():
    text = re.sub(r'"throughput_50ms": \[[^]]*\], ', "", as_json([run_of(latencies=[0.1] * 4)]))
    [again] = read(text)
    assert not again.outcome.ticks
    assert plots._rates(again.outcome, 0.05) == ([0.0, 1.0, 2.0], [2.0, 2.0])


def test_a_page_of_nothing_has_no_drawings():
    page = as_html([("x", Outcome())])
    assert images(page) == []
    assert page.count("<p>None.</p>") == 3


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "$\\frac{$", "_hidden", "&amp;"])
def test_names_are_text_in_page_and_drawings(name):
    page = as_html([(name, outcome_of()), ("other", outcome_of(errors=[name]))], faults=[name])
    assert "<script" not in page
    for drawing in images(page):
        assert "<script" not in drawing
    escaped = name.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert page.count(escaped) == 2  # the fault and the row
    assert all(escaped in drawing for drawing in images(page))


# --- what is kept


def kept_of(numbers, size=1024):
    lines = (
        json.dumps({"subject": f"load {n}", "size": len(message(n, size)) - 3}) for n in numbers
    )
    return listing(lines)


def run_with(accepted, failed=0):
    return run_of(latencies=[0.1] * accepted, errors=["EOFError"] * failed)


@pytest.mark.parametrize(
    ("run", "kept", "fault"),
    [
        (run_with(100), kept_of(range(100)), None),
        (run_with(99, failed=1), kept_of(range(100)), None),  # the answer was lost, not the mail
        (run_with(99, failed=1), kept_of(range(99)), None),
        (run_with(100), kept_of(range(99)), "1 messages accepted but not kept"),
        (run_with(98), kept_of(range(100)), "2 messages kept but never accepted"),
        (run_with(100), kept_of([*range(100), 5, 5]), "2 messages kept more than once"),
        (run_with(100), kept_of(range(101)), "1 messages kept that were not sent"),
        (run_with(1), kept_of([0], size=1023), "1 messages kept that were not sent, or not in"),
        (run_with(100), Counter(), "100 messages accepted but not kept"),
    ],
)
def test_what_is_kept_is_compared_number_by_number(run, kept, fault):
    found = faults(run, kept)
    if fault is None:
        assert found == []
    else:
        assert any(line.startswith(f"127.0.0.1:25: {fault}") for line in found), found


@pytest.mark.parametrize("line", ["", "x", "{}", '{"subject": "x", "size": "big"}', "[1]"])
def test_what_is_no_listing_is_refused(line):
    with pytest.raises(FormatError, match="prixfixe messages --json"):
        listing([line])
