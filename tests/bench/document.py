"""Fill the tables of docs/performance.md from the record of one run.

Only the marked parts of the document are replaced. A server that could not be measured has a row
that says why.
"""

from __future__ import annotations

import re
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from tests.bench.generator import WORKLOADS
from tests.bench.summary import CLAIMS, costs, figure, measure, medians, rates

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["DOCUMENT", "filled", "parts", "table"]

DOCUMENT = Path(__file__).parents[2] / "docs" / "performance.md"
NONE = "–"


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table of Markdown."""
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def filled(text: str, found: dict[str, str]) -> str:
    """Return the document with its marked parts replaced.

    Raises:
        KeyError: the document has no such marks.

    """
    for name, part in found.items():
        marks = rf"(<!-- bench: {name} -->\n).*?(<!-- end -->)"
        text, count = re.subn(
            marks, lambda m, part=part: f"{m[1]}{part}\n{m[2]}", text, flags=re.DOTALL
        )
        if count != 1:
            raise KeyError(f"bench: {name}")
    return text


def parts(record: dict[str, Any]) -> dict[str, str]:
    """Return the generated parts by their names."""
    return {
        "run": _run(record),
        "throughput": _throughput(record),
        "claims": _claims(record),
        "costs": _costs(record),
        "resources": _resources(record),
        "latency": _latency(record),
    }


def _run(record: dict[str, Any]) -> str:
    loads = [one["load"] for one in record["samples"]]
    told = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    return (
        f"{record['machine']}, {record['date']}: {record['rounds']} rounds, load average "
        f"{min(loads, default=0):.1f} to {max(loads, default=0):.1f}. Versions: {told}."
    )


def _throughput(record: dict[str, Any]) -> str:
    return _by_workload("messages a second", record, medians(record["samples"]))


def _costs(record: dict[str, Any]) -> str:
    return _by_workload("us of processor time", record, costs(record["samples"]))


def _by_workload(what: str, record: dict[str, Any], found: dict[tuple[str, str], float]) -> str:
    keys = [key for key in WORKLOADS if any(workload == key for _, workload in found)]
    rows = []
    for name, title in record["titles"].items():
        if name in record["failed"]:
            why = record["failed"][name].strip().splitlines()[-1]
            cells = [f"not measured: {why[-80:]}"]
            cells += [NONE] * (len(keys) - 1)
        else:
            cells = [figure(found[name, key]) if (name, key) in found else NONE for key in keys]
        rows.append([title, *cells])
    return table([what, *(WORKLOADS[key].title for key in keys)], rows)


def _claims(record: dict[str, Any]) -> str:
    found, spent = rates(record["samples"]), costs(record["samples"])
    rows = []
    for claim in CLAIMS:
        measured = measure(claim, found)
        cells = [NONE, NONE, "not measured", NONE]
        if measured:
            holds = "yes" if measured.ratio >= claim.least else "**no**"
            cells = [
                f"{measured.ratio:.2f}",
                f"{measured.low:.2f} to {measured.high:.2f}",
                holds,
                f"{spent[claim.rival, claim.workload] / spent[claim.server, claim.workload]:.2f}",
            ]
        who = f"`{claim.server}` / `{claim.rival}`"
        rows.append([who, WORKLOADS[claim.workload].title, f"{claim.least:g}", *cells])
    head = ["messages a second", "workload", "at least", "measured", "single rounds", "holds"]
    return table([*head, "by processor time"], rows)


def _resources(record: dict[str, Any]) -> str:
    rows = []
    for name, title in record["titles"].items():
        mine = [one for one in record["starts"] if one["server"] == name]
        idle = record["idle"].get(name)
        if mine:
            seconds = median(one["seconds"] for one in mine)
            rss = median(one["rss"] for one in mine) / 2**20
            each = (idle["after"] - idle["before"]) / idle["connections"] / 1024 if idle else None
            cells = [f"{seconds:.2f}", f"{rss:.0f}", NONE if each is None else f"{each:.1f}"]
            rows.append([title, *cells])
    megabytes = f"{record['image_bytes'] / 1e6:.1f} MB" if record["image_bytes"] else NONE
    head = ["", "start to ready, s", "idle RSS, MiB", "RSS of an idle connection, KiB"]
    return f"{table(head, rows)}\n\nThe image: {megabytes}."


def _latency(record: dict[str, Any]) -> str:
    rows = []
    for name, one in record["latency"].items():
        spread = one["latency_ms"]
        ratio = spread["p99"] / spread["p50"]
        cells = [figure(one["most"]), figure(one["rate"])]
        cells += [figure(spread[percent]) for percent in ("p50", "p90", "p99", "p99.9", "p100")]
        holds = "yes" if ratio <= 10 else "**no**"
        rows.append([record["titles"][name], *cells, f"{ratio:.1f}", holds])
    head = ["ms", "highest rate", "rate", "p50", "p90", "p99", "p99.9", "most", "p99 / p50"]
    return table([*head, "at most 10"], rows)
