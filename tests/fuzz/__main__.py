"""Fuzz one target with atheris: `python -m tests.fuzz TARGET [libFuzzer options]`.

New inputs go to `evidence/fuzz/TARGET`, which CI keeps; what breaks an
invariant, or takes over a second, is written beside it and ends the run with a code that is not 0.
Copy a minimised one into `tests/fuzz/corpus/TARGET` and it is replayed by every unit run.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["prixfixe"]):
    from tests.fuzz.harness import TARGETS

HERE = Path(__file__).parent
SECONDS, HANG_SECONDS, MAX_OCTETS = 60, 1, 4096


def main(argv: list[str]) -> int:
    """Run until something breaks or the time is up."""
    if not argv or argv[0] not in TARGETS:
        sys.stderr.write(f"expected a target, one of: {', '.join(TARGETS)}\n")
        return 2
    name, *options = argv
    found = Path("evidence", "fuzz", name)
    found.mkdir(parents=True, exist_ok=True)
    defaults = [
        f"-max_total_time={SECONDS}",
        f"-timeout={HANG_SECONDS}",
        f"-max_len={MAX_OCTETS}",
        f"-artifact_prefix={found}-",
        f"-dict={HERE / 'smtp.dict'}",
        "-print_final_stats=1",
    ]
    folders = [str(found), str(HERE / "corpus" / name)]
    atheris.Setup([sys.argv[0], *defaults, *options, *folders], TARGETS[name])
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
