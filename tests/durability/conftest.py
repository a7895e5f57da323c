"""Options, stands, skips with their reason, and the table of faults survived."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.durability import disks, strace
from tests.durability.rig import STORES, Stand


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("durability")
    group.addoption(
        "--full", action="store_true", help="every seed, cut and octet that is promised"
    )
    group.addoption("--failovers", type=int, default=3, help="so many failovers of PostgreSQL")
    group.addoption("--pg-seed", type=int, default=1, help="which failovers")
    group.addoption("--seeds", type=int, default=0, help="so many kills and power cuts, instead")


@pytest.fixture
def amount(request: pytest.FixtureRequest):
    """Return how often to do something: the bounded number or the full one."""
    return lambda bounded, full: full if request.config.getoption("--full") else bounded


@pytest.fixture
def seeds(request: pytest.FixtureRequest, amount):
    """Return which seeds to use: so many, or as many as were asked for."""
    return lambda bounded, full: range(request.config.getoption("--seeds") or amount(bounded, full))


@pytest.fixture(params=STORES)
def technology(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def make_stand(tmp_path: Path) -> Iterator:
    """Make stands; whatever server they leave running is ended."""
    made: list[Stand] = []

    def make(technology: str, fault: str = "", **environ: str) -> Stand:
        folder = tmp_path / f"stand{len(made)}"
        folder.mkdir()
        made.append(Stand(folder, technology, fault, **environ))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def stand(make_stand, technology: str) -> Stand:
    return make_stand(technology)


@pytest.fixture
def tracing() -> None:
    """Skip where no process can be traced."""
    if reason := strace.why_not():
        pytest.skip(reason)


@pytest.fixture
def mounting() -> None:
    """Skip where no disk can be mounted."""
    if reason := disks.why_not():
        pytest.skip(reason)


@pytest.fixture
def survived(record_property, request: pytest.FixtureRequest):
    """Count faults that were survived, for the table at the end of the run."""

    def count(fault: str, store: str, number: int, unit: str) -> None:
        record_property("survived", (fault, store, number, unit))

    return count


def pytest_terminal_summary(terminalreporter) -> None:
    """Print the table that docs/durability.md quotes."""
    counts: Counter[tuple[str, str, str]] = Counter()
    for report in terminalreporter.getreports("passed"):
        for name, value in getattr(report, "user_properties", ()):
            if name == "survived" and report.when == "call":
                fault, store, number, unit = value
                counts[fault, unit, store] += number
    if not counts:
        return
    terminalreporter.section("faults survived")
    places = [
        each
        for each in (*STORES, "postgresql", "container")
        if any(key[2] == each for key in counts)
    ]
    terminalreporter.write_line(f"| fault | what was counted | {' | '.join(places)} |")
    for fault, unit in sorted({key[:2] for key in counts}):
        cells = [str(counts.get((fault, unit, each), "")) for each in places]
        terminalreporter.write_line(f"| {fault} | {unit} | {' | '.join(cells)} |")
