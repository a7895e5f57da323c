"""Run aiosmtpd's own tests on our controllers, and tell what became of each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from tests.peers.differences import reason_of

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["MODULES", "SHORT", "Verdict", "judge", "share", "summary", "unexplained"]

MODULES = (
    *("handlers", "lmtp", "misc", "proxyprotocol", "server"),
    *("smtp", "smtps", "smtpsmuggling", "starttls"),
)
SHORT = ("handlers", "smtps", "starttls")  # a few seconds
SECONDS = 900


class Verdict(NamedTuple):
    """What became of one test: `passed`, `difference` or `insides`; else `failed`."""

    name: str
    kind: str
    why: str = ""
    rfc: str = ""


def judge(folder: Path, modules: tuple[str, ...] = MODULES) -> list[Verdict]:
    """Run the tests of these modules, each in a process of its own; return the verdicts."""
    return [one for module in modules for one in _judge_module(folder, module)]


def _judge_module(folder: Path, module: str) -> list[Verdict]:
    report = folder / f"{module}.json"
    command = [
        *(sys.executable, "-m", "pytest", "-p", "tests.peers.plugin", "-p", "no:randomly"),
        *("-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(folder), "-q", "-n", "0"),
        *("--timeout", "120", "--pyargs", f"aiosmtpd.tests.test_{module}"),
    ]
    environ = {**os.environ, "PEERS_REPORT": str(report), "PYTHONPATH": os.getcwd()}
    done = subprocess.run(
        command, env=environ, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    if not report.exists():
        raise RuntimeError(done.stdout[-2000:] + done.stderr[-2000:])
    notes = json.loads(report.read_text(encoding="utf-8"))
    return [_verdict(name, note) for name, note in notes.items()]


def _verdict(name: str, note: dict[str, object]) -> Verdict:
    outcome = note.get("outcome")
    if outcome == "skipped":
        return Verdict(name, "insides", "aiosmtpd skips it here")
    if outcome == "passed":
        if note.get("served"):
            return Verdict(name, "passed")
        return Verdict(name, "insides", "passes; it asks no controller")
    found = reason_of(name)
    if found is None:
        return Verdict(name, "failed", str(note.get("reason", ""))[-1000:])
    kind, reason = found
    return Verdict(name, kind, reason.why, reason.rfc)


def share(verdicts: list[Verdict]) -> float:
    """Return which share of the tests that drive a controller passes."""
    kinds = Counter(one.kind for one in verdicts)
    return kinds["passed"] / (kinds["passed"] + kinds["difference"] + kinds["failed"])


def unexplained(verdicts: list[Verdict]) -> list[Verdict]:
    """Return the tests that fail and have no reason."""
    return [one for one in verdicts if one.kind == "failed"]


def summary(verdicts: list[Verdict]) -> str:
    """Return the numbers in one line."""
    kinds = Counter(one.kind for one in verdicts)
    return (
        f"{len(verdicts)} tests: {kinds['passed']} that drive a controller pass,"
        f" {kinds['difference']} differ on purpose ({100 * share(verdicts):.1f} % pass),"
        f" {kinds['insides']} are about aiosmtpd's insides"
    )
