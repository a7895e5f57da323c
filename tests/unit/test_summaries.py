"""What the weekly runs leave for people: tables on the page of the run, plots beside the records."""

import json

import pytest

from prixfixe.load import Outcome
from tests.bench import document, evidence
from tests.load import figures
from tests.load.vitals import Vitals
from tests.support import run_summary as summaries
from tests.unit.test_bench import record

__all__ = ["record"]


@pytest.fixture
def page(tmp_path, monkeypatch):
    """The page of a workflow's run."""
    path = tmp_path / "page.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(path))
    return path


def test_without_a_page_nothing_is_written(monkeypatch):
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    summaries.add("Title", "text")


@pytest.mark.timeout(180)  # matplotlib may first list the machine's fonts
def test_the_speed_is_on_the_page_and_drawn(record, page, tmp_path):
    evidence.keep(record, tmp_path / "evidence" / "bench.json")
    assert json.loads((tmp_path / "evidence" / "bench.json").read_text()) == record
    text = page.read_text()
    assert text.startswith("## Speed, beside others\n\na machine, 2026-01-02: 3 rounds")
    assert document.parts(record)["claims"] in text
    assert {path.name for path in (tmp_path / "evidence" / "bench").iterdir()} == {
        "claims.svg",
        "throughput.svg",
    }


@pytest.mark.timeout(180)
def test_a_load_is_on_the_page_and_drawn(page, tmp_path):
    outcome = Outcome(seconds=2.0)
    for at in range(10):
        outcome.accept(1024, 0.004, at // 5)
    vitals = Vitals(rss=50 << 20, peak=60 << 20, fds=20, threads=7)
    rows = [figures.row("burst", outcome, vitals, vitals)]
    figures.write(rows, ["machine: two CPUs"], tmp_path / "evidence" / "load.json")
    summaries.add("Load", figures.markdown(rows))
    head, _, line = page.read_text().split("\n\n")[1].splitlines()
    assert head.startswith("| scenario | messages | seconds |")
    assert line.startswith("| burst | 10 | 2.0 | 5 |")
    [measured] = json.loads((tmp_path / "evidence" / "load.json").read_text())["measured"]
    assert (measured["scenario"], measured["messages"]) == ("burst", 10)
    html = (tmp_path / "evidence" / "load.html").read_text()
    assert "<td>burst</td>" in html
    assert html.count("data:image/svg+xml;base64,") >= 2
