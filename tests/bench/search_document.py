"""The tables about reading in docs/performance.md, from the record of `tests.bench.search`."""

from __future__ import annotations

from statistics import median
from typing import Any

from tests.bench.document import table

__all__ = ["parts"]

# At most so many milliseconds at 100,000 messages, for 95 of 100; twice as many at 1,000,000.
MOST = {
    "to:": 20,
    "subject:": 20,
    "message-id:": 20,
    "to: (all match)": 60,
    "a rare word": 100,
    "a common word": 100,
    "two letters": 1000,
    "one letter": 1000,
    "is:unread": 60,
    "wait, mail is there": 20,
    "a list page": 10,
    "the first list page": 10,
    "a list while searches run": 10,
}
_USUAL = 100_000
NONE = "–"


def parts(record: dict[str, Any]) -> dict[str, str]:
    """Return the generated parts by their names."""
    return {
        "reading-run": _run(record),
        "reading": _times(record),
        "index": _index(record),
        "receiving": _receiving(record["receiving"]),
        "maildev": _rival(record["rival"]),
    }


def _run(record: dict[str, Any]) -> str:
    low, high = min(record["load"]), max(record["load"])
    return (
        f"{record['machine']}, commit {record['commit']}, {record['date']}; "
        f"load average {low} to {high}."
    )


def _title(run: dict[str, Any]) -> str:
    return f"`{run['store']}`, {run['messages']:,}"


def _times(record: dict[str, Any]) -> str:
    runs = record["runs"]
    rows = [
        [name, str(most), *(_shown(run, name, most) for run in runs)] for name, most in MOST.items()
    ]
    return table(["p95, ms", "at most", *map(_title, runs)], rows)


def _shown(run: dict[str, Any], name: str, most: float) -> str:
    """Return a time, marked where it is above the aim."""
    found = run["times"].get(name)
    if found is None:
        return NONE
    allowed = most if run["messages"] <= _USUAL else 2 * most
    return f"{found['p95']:g}" if found["p95"] <= allowed else f"**{found['p95']:g}**"


def _index(record: dict[str, Any]) -> str:
    runs = record["runs"]
    rows = [
        ["entries in lists, messages a second", "", *(f"{run['summaries']:,.0f}" for run in runs)],
        ["words, messages a second", "at least 1,000", *(f"{run['words']:,.0f}" for run in runs)],
        ["index, times the mail", "at most 1.5", *(f"{run['index']:.2f}" for run in runs)],
        ["start to ready, s", "at most 1", *(f"{run['ready']:.2f}" for run in runs)],
        ["most resident memory, MiB", "at most 100", *(f"{run['peak']:.0f}" for run in runs)],
    ]
    return table(["", "aim", *map(_title, runs)], rows)


def _receiving(costs: dict[str, list[float]]) -> str:
    if not costs:
        return "It was not measured in this run."
    with_index, without = median(costs["with"]), median(costs["without"])
    return (
        f"A message of 1 KiB takes {with_index:.0f} us of processor time with HTTP and the index, "
        f"and {without:.0f} us without both: {without / with_index:.0%} of the speed."
    )


def _rival(found: dict[str, Any]) -> str:
    if "missing" in found:
        return f"MailDev was not compared: {found['missing']}."
    names = [name for name in found if name != "messages"]
    rows = [
        [title, *(f"{found[name][key]:,.3g}" for name in names)]
        for key, title in {
            "received": "messages a second, on one connection",
            "a list page": "a list page of 50, ms",
            "a word": "a search for a word, ms",
            "memory": "most resident memory, MiB",
        }.items()
    ]
    return table([f"{found['messages']:,} messages", *names], rows)
