"""Every broken image of the container suite, and the cases of `prixfixe verify` that tell.

`python -m tests.verify.teeth --image ID [NAME...]` makes each mutant, holds it to the profile
`prixfixe`, and writes docs/verify-teeth.md. First the cases named here are played, then, if all of
them pass, the others of their groups.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.container import engine
from tests.container.mutants.making import make
from tests.container.mutants.table import MUTANTS

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "verify-teeth.md"
# A run that was ended goes on from here; remove it to begin anew.
FOUND = ROOT / "evidence" / "verify-teeth.json"
# The cases that must tell, each by its number.
NAMED = {
    "root user": "IMG-01",
    "named user": "IMG-01",
    "healthcheck true": "IMG-07",
    "no healthcheck": "IMG-07",
    "shell-form entrypoint": "IMG-08",
    "wrapped entrypoint": "RUN-04 RUN-05",
    "no stop signal": "IMG-09",
    "another port": "IMG-10",
    "volume": "IMG-12",
    "false version": "IMG-16",
    "made in the future": "IMG-11",
    "no revision": "IMG-11",
    "password in the environment": "IMG-05 IMG-29",
    "another default": "IMG-29",
    "secret in a layer": "IMG-04 IMG-14",
    "fat layer": "IMG-02",
    "the same twice": "IMG-18",
    "world-writable spool": "IMG-13",
    "setuid program": "IMG-03",
    "a shell": "IMG-06",
    "a program of its user": "IMG-19",
    "a named pipe": "IMG-20",
    "takes Python's variables": "RUN-17",
    "pip": "IMG-22",
    "package cache": "IMG-15",
    "tests shipped": "IMG-23",
    "login allowed": "IMG-21",
    "unlocked wheel": "IMG-24",
    "copyleft wheel": "IMG-24",
    "no copyright file": "IMG-25",
    "another architecture": "IMG-26",
    "compiled by time": "IMG-28",
    "no package records": "IMG-25",
    "time of the build": "IMG-17",
    "missing module": "RUN-01 HLT-01",
    "missing library": "IMG-27",
    "not compiled": "IMG-28",
    "greeting without domain": "RUN-15",
    "greets with the host's name": "RUN-15",
    "needs a network": "RUN-09",
    "one user only": "RUN-08",
    "nine hours ahead": "OBS-06",
    "prints": "OBS-03",
    "no size limit": "LIM-01 LIM-02 LIM-03",
    "ignores the connection limit": "LIM-06",
    "no limit of recipients": "LIM-05",
    "no limit of memory": "SEC-05",
    "a traceback for too few threads": "RUN-14",
    "probe takes a client's slot": "HLT-04",
    "always ready": "HLT-03 HLT-07",
    "false ready line": "OBS-10",
    "IPv4 only": "RUN-16",
    "one listener too many": "RUN-10",
    "bad setting ignored": "RUN-13",
    "misspelt setting unnoticed": "RUN-13",
    "files of settings ignored": "RUN-13",
    "no idle timeout": "SMTP-X01 SMTP-X02",
    "no SIGTERM handler": "RUN-05",
    "never lets go": "RUN-12",
    "no lock": "DUR-08",
    "says what the system says": "RUN-14",
    "acknowledges what was not stored": "DUR-06",
    "loses every 50th message": "DUR-01 DUR-02",
    "senders in lower case": "SMTP-N36",
    "another id in the trace": "OBS-07",
    "bare line ends kept": "SMTP-N01 SMTP-N14",
    "ends data at a bare line feed": "SMTP-D03",
    "tells nobody who waits": "OBS-09",
    "counts twice": "OBS-08",
    "any password will do": "SMTP-A07",
    "mail without a login": "SEC-07",
    "new files never read": "TLS-05",
    "strips a final newline": "DUR-09",
    "DELETE asks for no token": "SEC-08",
    "BDAT knows no size": "SMTP-N23",
    "BDAT loses dots": "SMTP-K05 SMTP-N39 SMTP-N63",
    "the TLS port knows no recipients": "LIM-07",
}


def failing(image: str, name: str) -> tuple[list[str], bool]:
    """Return the musts that fail, of the named cases or else of their groups, and whether it is of the named."""
    named = " or ".join(f"PF-{one}" for one in NAMED[name].split())
    groups = " or ".join(sorted({f"PF-{one.split('-')[0]}-" for one in NAMED[name].split()}))
    for expression in (named, f"({groups}) and not ({named})"):
        if found := _failing(image, expression):
            return found, expression == named
    return [], False


def _failing(image: str, expression: str) -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        words = [f"docker://{image}", "--profile=prixfixe", "-k", expression]
        command = [sys.executable, "-m", "prixfixe", "verify", *words]
        done = subprocess.run(
            [*command, f"--report=json={report}"], cwd=ROOT, capture_output=True, check=False
        )
        if done.returncode == 1:
            found = json.loads(report.read_text())["results"]
            return [one["id"] for one in found if one["outcome"] == "fail"]
        if done.returncode:
            sys.stderr.write(f"{expression}: {done.stderr.decode()[-500:]}\n")
    return []


HEAD = """# What the verifier finds in broken images

Written by `python -m tests.verify.teeth` on {date}, for the image of revision
{revision}. Each image is that one, broken in one way of the container suite's table, and
held to the profile `prixfixe`. First the cases are played that are named for it, and the others of
their groups only if those pass. The table has {all} broken images. {played} of them were played, and
{found} are found.

| broken image | what is wrong | cases that fail |
|---|---|---|
"""


def _revision(image: str) -> str:
    labels = engine.client().images.get(image).labels
    return str(labels["org.opencontainers.image.revision"])[:12]


def document(found: dict[str, list[str]], revision: str) -> str:
    """Return the text."""
    rows = [(name, found[name]) for name in MUTANTS if name in found]
    told = [
        f"| {name} | {MUTANTS[name].why} | {', '.join(cases) or 'none'} |" for name, cases in rows
    ]
    head = HEAD.format(
        date=dt.datetime.now(dt.UTC).date().isoformat(),
        revision=revision,
        all=len(MUTANTS),
        played=len(rows),
        found=sum(bool(cases) for _, cases in rows),
    )
    return head + "\n".join(told) + "\n"


def _played(image: str, name: str) -> list[str]:
    """Return the cases that tell this mutant."""
    start = time.monotonic()
    broken = make(image, MUTANTS[name])
    try:
        found, is_named = failing(broken, name)
    finally:
        engine.client().images.remove(broken, force=True)
    told = f"{', '.join(found) or 'none'}{'' if is_named else ' (not as named)'}"
    sys.stdout.write(f"{name}: {told}, {time.monotonic() - start:.0f} s\n")
    sys.stdout.flush()
    return found


def main(argv: list[str]) -> int:
    """Play what was not played yet, and write the document; 1 when one is not found."""
    parser = argparse.ArgumentParser(prog="python -m tests.verify.teeth")
    parser.add_argument("--image", required=True, help="the sound image")
    parser.add_argument("names", nargs="*", help="mutants; all by default")
    args = parser.parse_args(argv)
    found = json.loads(FOUND.read_text()) if FOUND.exists() else {}
    for name in args.names or [one for one in MUTANTS if one not in found]:
        found[name] = _played(args.image, name)
        FOUND.parent.mkdir(exist_ok=True)
        FOUND.write_text(json.dumps(found))
    DOCUMENT.write_text(document(found, _revision(args.image)), encoding="utf-8")
    return int(not all(found.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
