"""`python -m tests.bench`: run servers side by side, keep the record, and write the document."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from tests.bench import document, evidence, plots
from tests.bench.generator import WORKLOADS, GeneratorError
from tests.bench.idle import CONNECTIONS, per_connection
from tests.bench.latency import at_half_rate
from tests.bench.rivals import RIVALS
from tests.bench.rivals.base import NotStartedError
from tests.bench.rivals.image import image_bytes
from tests.bench.runner import Rounds
from tests.bench.starting import starts

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.bench.rivals.base import Rival

# Not the image: the proxy of Docker takes six files a connection, more than 20,000 in all.
CROWDED = ("prixfixe-discard", "prixfixe-sqlite", "aiosmtpd-asyncio", "aiosmtpd-uvloop")
TIMED = ("prixfixe-discard", "prixfixe-sqlite", "image-sqlite")
FAILURES = (NotStartedError, GeneratorError, OSError, EOFError, psutil.Error)
BEGAN = time.monotonic()


def arguments(words: list[str]) -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.6, help="of a sample, about")
    parser.add_argument("--quick", action="store_true", help="two short rounds of 1 KiB")
    parser.add_argument("--only", help="servers, by comma: " + ", ".join(RIVALS))
    parser.add_argument("--write", action="store_true", help="write docs/performance.md")
    parser.add_argument("--record", type=Path, help="measure nothing, take this record")
    chosen = parser.parse_args(words)
    if chosen.quick:
        chosen.rounds, chosen.seconds = 2, 0.3
    return chosen


def tell(line: str) -> None:
    """Say how far it is."""
    sys.stdout.write(f"{time.monotonic() - BEGAN:5.0f} s  {line}\n")
    sys.stdout.flush()


def main(words: list[str]) -> int:
    """Measure or take a record; print it, write it where asked."""
    chosen = arguments(words)
    if chosen.record:
        record = json.loads(chosen.record.read_text())
    else:
        if not shutil.which("smtp-source"):
            sys.stderr.write("smtp-source is missing: it is in Debian's postfix\n")
            return 2
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers are stopped
        record = measured(chosen)
        evidence.keep(record)
    found = document.parts(record)
    sys.stdout.write("\n\n".join(found.values()) + "\n")
    if chosen.write:
        document.DOCUMENT.write_text(document.filled(document.DOCUMENT.read_text(), found))
        plots.draw(record, document.DOCUMENT.with_suffix(""))
    return 0


def measured(chosen: argparse.Namespace) -> dict[str, Any]:
    """Measure all, and return the record."""
    asked = chosen.only.split(",") if chosen.only else list(RIVALS)
    missing = {name: why for name in asked if (why := RIVALS[name].missing())}
    rivals = {name: RIVALS[name] for name in asked if name not in missing}
    for name, why in missing.items():
        tell(f"{name}: {why}")
    workloads = [one for one in WORKLOADS.values() if one.size_kib == 1 or not chosen.quick]
    rounds = Rounds(rivals, workloads, tell, chosen.seconds)
    rounds.play(chosen.rounds)
    return {
        "date": dt.datetime.now(dt.UTC).strftime("%Y-%m-%d"),
        "machine": machine(),
        "rounds": chosen.rounds,
        "titles": {name: RIVALS[name].title for name in asked},
        "versions": {one.program: one.version() for one in rivals.values()},
        "failed": missing | rounds.failed,
        "samples": rounds.samples,
        "starts": starts(rivals, 2 if chosen.quick else 7, tell),
        "idle": _each(CROWDED, rivals, "idle connections", _crowd(chosen)),
        "latency": _each(TIMED, rivals, "latency", _timing(chosen)),
        "image_bytes": image_bytes(),
    }


def _crowd(chosen: argparse.Namespace) -> Callable[[Rival], Any]:
    return lambda rival: per_connection(rival, 500 if chosen.quick else CONNECTIONS)


def _timing(chosen: argparse.Namespace) -> Callable[[Rival], Any]:
    return lambda rival: at_half_rate(rival, 2 if chosen.quick else 10)


def _each(
    names: tuple[str, ...], rivals: dict[str, Rival], what: str, how: Callable[[Rival], Any]
) -> dict[str, Any]:
    found = {}
    for name in names:
        if name in rivals:
            tell(f"{what}: {name}")
            try:
                found[name] = how(rivals[name])
            except FAILURES as error:
                tell(f"  {error}")
    return found


def machine() -> str:
    """Return what it was measured on."""
    return (
        f"{os.cpu_count()} processors, Linux {platform.release().partition('-')[0]}, "
        f"{platform.machine()}, Python {platform.python_version()}"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
