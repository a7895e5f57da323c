"""The arithmetic and the tables of `nox -s bench`; what it measures is not measured here."""

import re

import pytest

from tests.bench import comparison, document, plots, search_document, stacks
from tests.bench.generator import CONNECTIONS, WORKLOADS, GeneratorError, command, messages_for
from tests.bench.summary import (
    CLAIMS,
    Claim,
    costs,
    figure,
    measure,
    medians,
    rates,
    ratio_of,
    turned,
)


def sample(server, rate, number=0, workload="1KiB-same"):
    return {
        "round": number,
        "server": server,
        "workload": workload,
        "messages": 100,
        "seconds": 100 / rate,
        "busy": 50 / rate,
        "load": 1.0,
    }


SAMPLES = [
    *(sample("a", rate, number) for number, rate in enumerate((100, 300, 200))),
    *(sample("b", rate, number) for number, rate in enumerate((10, 20, 50))),
]


def test_the_median_is_of_the_rounds():
    assert medians(SAMPLES) == pytest.approx({("a", "1KiB-same"): 200, ("b", "1KiB-same"): 20})


def test_the_cost_is_of_one_message():
    assert costs(SAMPLES)["a", "1KiB-same"] == pytest.approx(0.5 / 200 * 1e6)


def test_a_ratio_is_of_medians_and_its_range_of_rounds():
    found = measure(Claim("a", "b", "1KiB-same", 5), rates(SAMPLES))
    assert found == pytest.approx((10, 4, 15))


def test_servers_that_never_ran_together_have_no_ratio():
    assert ratio_of({0: 1.0}, {1: 1.0}) is None
    assert measure(Claim("a", "c", "1KiB-same", 5), rates(SAMPLES)) is None


def test_claims_are_about_workloads_there_are():
    assert {claim.workload for claim in CLAIMS} <= set(WORKLOADS)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.614, "0.61"),
        (1.0, "1.00"),
        (12.34, "12.3"),
        (99.96, "100"),
        (123.4, "123"),
        (999.7, "1,000"),
        (12345.6, "12,300"),
        (9996, "10,000"),
    ],
)
def test_figures_have_three_digits_that_count(value, shown):
    assert figure(value) == shown


# --- the run


def test_every_round_has_another_one_first():
    assert [turned(["a", "b", "c"], number)[0] for number in range(4)] == ["a", "b", "c", "a"]
    assert sorted(turned(["a", "b", "c"], 2)) == ["a", "b", "c"]
    assert turned([], 1) == []


def test_a_sample_is_bounded():
    assert messages_for(5000, 0.5) == 2500
    assert messages_for(1, 0.5) == 100
    assert messages_for(1e9, 60) == 40_000


@pytest.mark.parametrize("key", WORKLOADS)
def test_the_generator_is_asked_for_the_workload(key):
    workload = WORKLOADS[key]
    words = command(("127.0.0.1", 25), workload, 7)
    assert words[:3] == ["smtp-source", "-s", str(CONNECTIONS)]
    assert ("-d" in words) is not workload.is_own
    assert words[words.index("-l") + 1] == str(workload.size_kib * 1024)
    assert words[-3:] == ["-m", "7", "127.0.0.1:25"]


def test_nothing_is_sent_to_another_machine():
    with pytest.raises(GeneratorError, match="not this machine"):
        command(("192.0.2.1", 25), WORKLOADS["1KiB-same"], 1)


# --- the document


@pytest.fixture
def record():
    spread = {"p50": 1.0, "p90": 2.0, "p99": 12.0, "p99.9": 20.0, "p100": 21.0}
    return {
        "date": "2026-01-02",
        "machine": "a machine",
        "rounds": 3,
        "titles": {"prixfixe-discard": "Ours", "smtp-sink": "The sink (C)", "postfix": "Postfix"},
        "versions": {"Postfix": "3.7"},
        "failed": {"postfix": "not installed"},
        "samples": [sample("prixfixe-discard", 900), sample("smtp-sink", 1000)],
        "starts": [{"server": "smtp-sink", "seconds": one, "rss": 2**20} for one in (1, 2, 9)],
        "idle": {"smtp-sink": {"connections": 10, "before": 0, "after": 10 * 2048}},
        "latency": {"prixfixe-discard": {"most": 100, "rate": 50, "latency_ms": spread}},
        "image_bytes": 43_000_000,
    }


def test_the_tables_tell_the_record(record):
    found = document.parts(record)
    assert "3 rounds, load average 1.0 to 1.0. Versions: Postfix 3.7." in found["run"]
    assert (
        "| messages a second | 1 KiB, same |\n| --- | --- |\n| Ours | 900 |" in found["throughput"]
    )
    assert "| Postfix | not measured: not installed |" in found["throughput"]
    assert "| us of processor time | 1 KiB, same |\n| --- | --- |\n| Ours | 556 |" in found["costs"]
    assert "| The sink (C) | 2.00 | 1 | 2.0 |" in found["resources"]
    assert "43.0 MB" in found["resources"]
    assert "| Ours | 100 | 50 | 1.00 | 2.00 | 12 | 20 | 21 | 12.0 | **no** |" in found["latency"]


def test_claims_hold_or_do_not_or_were_not_measured(record):
    text = document.parts(record)["claims"]
    assert (
        "`prixfixe-discard` / `smtp-sink` | 1 KiB, same | 0.6 | 0.90 | 0.90 to 0.90 | yes | 0.90 |"
        in text
    )
    record["samples"][0]["seconds"] *= 2
    assert "| 0.45 | 0.45 to 0.45 | **no** | 0.90 |" in document.parts(record)["claims"]
    assert "`postfix` | 1 KiB, same | 6 | – | – | not measured | – |" in text


def test_only_marked_parts_of_a_document_are_replaced():
    text = (
        "before\n<!-- bench: a -->\nold\n<!-- end -->\nbetween\n<!-- bench: b -->\n<!-- end -->\n"
    )
    filled = document.filled(text, {"a": r"new \1", "b": "more"})
    assert filled == text.replace("old", r"new \1").replace("b -->\n", "b -->\nmore\n")
    with pytest.raises(KeyError, match="bench: c"):
        document.filled(text, {"c": ""})


def test_the_document_has_every_mark(record):
    text = document.DOCUMENT.read_text()
    assert document.filled(text, document.parts(record)) != text


@pytest.mark.timeout(180)  # matplotlib may first list the machine's fonts
def test_the_same_record_gives_the_same_plots(record, tmp_path):
    for name in ("a", "b"):
        plots.draw(record, tmp_path / name)
    drawn = {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()}
    assert drawn == {path.name: path.read_bytes() for path in (tmp_path / "b").iterdir()}
    shown = {f"performance/{name}" for name in drawn}
    assert shown == set(re.findall(r"!\[.*?\]\((.*?)\)", document.DOCUMENT.read_text()))
    assert b"1 KiB, same" in drawn["throughput.svg"]


def test_two_versions_are_told_by_quarter_and_half():
    samples = {"old": [(10.0, 8.0), (30.0, 8.0), (20.0, 8.0)], "now": [(10.0, 4.0)] * 3}
    lines = [line.split() for line in comparison.told(samples).splitlines()]
    assert lines[1:3] == [
        ["old", "15.0", "20.0", "8.0", "8.0"],
        ["now", "10.0", "10.0", "4.0", "4.0"],
    ]
    assert lines[3] == ["ratio", "0.667", "0.500", "0.500", "0.500"]


STACKS = {
    "main (a/prixfixe/server/process.py:3);uv__io_poll (uvloop/loop.so);__libc_send (libc.so.6)": (
        "sending (kernel)"
    ),
    "run (uvloop/loop.so);pump (a/prixfixe/connection/transport.py:9);find (python3.11)": (
        "Python: PrixFixe"
    ),
    "run_once (asyncio/base_events.py:1);_getaddr (aiosmtpd/smtp.py:2);get (email/x.py:3)": (
        "Python: aiosmtpd"
    ),
    "main (a/b.py:1);select (selectors.py:4)": "event loop",
    "main (a/b.py:1)": "other",
}


@pytest.mark.parametrize(("stack", "kind"), STACKS.items(), ids=STACKS.values())
def test_a_stack_is_of_the_kind_nearest_to_its_end(stack, kind):
    assert stacks.kind(stack) == kind


def test_stacks_become_a_table_of_what_a_message_costs():
    sending, *_, main = STACKS
    found = stacks.shares(f"{sending} 3\n{main} 1\n")
    assert found == {"sending (kernel)": 0.75, "other": 0.25}
    assert stacks.table({"a": (40.0, found), "b": (10.0, {"other": 1.0})}).splitlines() == [
        "| us of processor time | a | b |",
        "| --- | --- | --- |",
        "| a message | 40.0 | 10.0 |",
        "| sending (kernel) | 30.0 | 0.0 |",
        "| other | 10.0 | 10.0 |",
    ]


@pytest.fixture
def reading():
    figures = {"summaries": 2000, "words": 1500, "index": 1.05, "ready": 0.5, "peak": 70}
    times = {"to:": {"p50": 1, "p95": 30, "found": 1}}
    return {
        "date": "2026-01-02",
        "machine": "2 processors",
        "commit": "abc",
        "load": [2.0, 1.0],
        "runs": [
            {"store": store, "messages": messages, "times": times, **figures}
            for store, messages in (("sqlite", 100_000), ("sqlite", 1_000_000))
        ],
        "receiving": {"with": [105, 100, 101], "without": [100, 99, 98]},
        "rival": {"missing": "npm is not installed"},
    }


def test_the_tables_about_reading_tell_the_record(reading):
    found = search_document.parts(reading)
    assert found["reading-run"] == "2 processors, commit abc, 2026-01-02; load average 1.0 to 2.0."
    assert "| to: | 20 | **30** | 30 |" in found["reading"]  # twice as long at a million
    assert "| a list page | 10 | – | – |" in found["reading"]
    assert "| index, times the mail | at most 1.5 | 1.05 | 1.05 |" in found["index"]
    assert "101 us of processor time with HTTP and the index, and 99 us" in found["receiving"]
    assert "98% of the speed" in found["receiving"]
    assert found["maildev"] == "MailDev was not compared: npm is not installed."
    figures = {"received": 164.2, "a list page": 12.34, "a word": 34.56, "memory": 99.9}
    rival = search_document.parts({**reading, "rival": {"messages": 2000, "MailDev": figures}})
    assert "| 2,000 messages | MailDev |" in rival["maildev"]
    assert "| a search for a word, ms | 34.6 |" in rival["maildev"]


def test_the_document_has_every_mark_about_reading(reading):
    text = document.DOCUMENT.read_text()
    assert document.filled(text, search_document.parts(reading)) != text
