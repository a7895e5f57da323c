"""Every broken image of the container suite, and the cases of `prixfixe verify` that tell.

`python -m tests.verify.teeth [--image ID] [NAME...]` makes each mutant, verifies it under the
profile `prixfixe`, and writes docs/verify-teeth.md. A mutant is first held to the static cases, and
to cases that need a container only if those all pass, so that most take seconds.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.container import engine
from tests.container.mutants.making import make
from tests.container.mutants.table import MUTANTS

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "verify-teeth.md"
# A run that was ended goes on from here; remove it to begin anew.
FOUND = ROOT / "evidence" / "verify-teeth.json"
# What is tried, in this order, until a must fails.
STAGES = ("IMG", "RUN or SMTP-G or SMTP-D0 or LIM or OBS", "HLT or DUR or TLS or SEC", "SMTP")


def failing(image: str) -> list[str]:
    """Return the musts that fail, of the first stage in which any does."""
    for stage in STAGES:
        with tempfile.TemporaryDirectory() as folder:
            report = Path(folder) / "report.json"
            words = [f"docker://{image}", "--profile=prixfixe", "-k", stage]
            command = [sys.executable, "-m", "prixfixe", "verify", *words]
            done = subprocess.run(
                [*command, f"--report=json={report}"], cwd=ROOT, capture_output=True, check=False
            )
            if done.returncode == 1:
                found = json.loads(report.read_text())["results"]
                return [one["id"] for one in found if one["outcome"] == "fail"]
    return []


HEAD = """# What the verifier finds in broken images

Written by `python -m tests.verify.teeth` on {date}. Each image is the one under test, broken in one
way of the container suite's table. It is held to the profile `prixfixe`, stage by stage until a
must fails. The table has {all} broken images. {played} of them were played, and {found} are found.

| broken image | what is wrong | cases that fail |
|---|---|---|
"""


def document(rows: list[tuple[str, list[str]]]) -> str:
    """Return the text."""
    found = sum(bool(cases) for _, cases in rows)
    date = dt.datetime.now(dt.UTC).date().isoformat()
    head = HEAD.format(date=date, found=found, played=len(rows), all=len(MUTANTS))
    told = [
        f"| {name} | {MUTANTS[name].why} | {', '.join(cases) or 'none'} |" for name, cases in rows
    ]
    return head + "\n".join(told) + "\n"


def main(argv: list[str]) -> int:
    """Play what was not played yet, and write the document."""
    parser = argparse.ArgumentParser(prog="python -m tests.verify.teeth")
    parser.add_argument("--image", required=True, help="the sound image")
    parser.add_argument("names", nargs="*", help="mutants; all by default")
    args = parser.parse_args(argv)
    found = json.loads(FOUND.read_text()) if FOUND.exists() else {}
    for name in args.names or [one for one in MUTANTS if one not in found]:
        image = make(args.image, MUTANTS[name])
        try:
            found[name] = failing(image)
        finally:
            engine.client().images.remove(image, force=True)
        sys.stdout.write(f"{name}: {', '.join(found[name]) or 'none'}\n")
        sys.stdout.flush()
        FOUND.parent.mkdir(exist_ok=True)
        FOUND.write_text(json.dumps(found))
    rows = [(name, found[name]) for name in MUTANTS if name in found]
    DOCUMENT.write_text(document(rows), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
