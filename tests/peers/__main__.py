"""`python -m tests.peers FILE`: run all tests of aiosmtpd, write the page, fail below 90 %."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.peers.document import document
from tests.peers.judge import judge, share, summary, unexplained

LEAST = 0.9


def main() -> int:
    """Judge, write the page, and tell."""
    with tempfile.TemporaryDirectory() as folder:
        verdicts = judge(Path(folder))
    Path(sys.argv[1]).write_text(document(verdicts), encoding="utf-8")
    print(summary(verdicts))
    for one in unexplained(verdicts):
        print(f"FAILED {one.name}\n{one.why}")
    return int(share(verdicts) < LEAST or bool(unexplained(verdicts)))


if __name__ == "__main__":
    sys.exit(main())
