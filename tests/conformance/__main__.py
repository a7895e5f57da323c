"""Play the table on a target and print who passes what: `python -m tests.conformance prixfixe`.

Targets: prixfixe, aiosmtpd, and with Docker postfix, opensmtpd, exim. Further words are case ids or
their beginnings. A report, not a gate: the exit code is 0 when every case that was asked for was
played. Needs the packages of requirements/dev.txt.
"""

from __future__ import annotations

import shlex
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

try:
    import trustme  # noqa: F401 - the targets import it when they are played

    from prixfixe.verify.dialogue.script import load
    from tests.conformance.peers import PEERS
    from tests.conformance.report import UNPUBLISHED, line, results, summary
    from tests.conformance.stock import StockTarget
    from tests.conformance.targets import ProcessTarget
except ModuleNotFoundError as error:
    command = (
        f"{shlex.quote(sys.executable)} -m pip install --require-hashes -r requirements/dev.txt"
    )
    sys.stderr.write(f"tests.conformance needs {error.name}; in the checkout: {command}\n")
    sys.exit(2)

if TYPE_CHECKING:
    from tests.conformance.targets import Target

TARGETS: dict[str, type[Target]] = {"prixfixe": ProcessTarget, "aiosmtpd": StockTarget, **PEERS}


def main(argv: list[str]) -> int:
    """Print one line a case, then the counts."""
    name, *wanted = argv or ["prixfixe"]
    if name not in TARGETS:
        sys.stderr.write(f"no target {name!r}; there are: {', '.join(TARGETS)}\n")
        return 2
    cases = [
        one
        for one in load().values()
        if (not wanted or one.id.startswith(tuple(wanted)))
        and (name == "prixfixe" or one.id not in UNPUBLISHED)
    ]
    found = []
    with tempfile.TemporaryDirectory() as folder:
        target = TARGETS[name](Path(folder))
        try:
            for result in results(cases, target):
                found.append(result)
                sys.stdout.write(line(result) + "\n")
                sys.stdout.flush()
        finally:
            target.close()
    sys.stdout.write(summary(found) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
