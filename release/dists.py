"""Build the source distribution and the wheel, the same octets wherever they are built.

    python -m release.dists [--out FOLDER] [TREE]

TREE is this checkout if not named, FOLDER its dist/, emptied first. Times in the files are those
of the last commit, or SOURCE_DATE_EPOCH. The tools are those of the environment: no isolation.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["build"]

ROOT = Path(__file__).resolve().parents[1]


def build(tree: Path, out: Path) -> list[Path]:
    """Build into an emptied folder and return the two files."""
    shutil.rmtree(out, ignore_errors=True)
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", out, tree],
        env=os.environ | {"SOURCE_DATE_EPOCH": epoch()},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return sorted(out.iterdir())


def epoch() -> str:
    """Return the time that the files get: the environment's, or the last commit's."""
    return (
        os.environ.get("SOURCE_DATE_EPOCH")
        or subprocess.run(
            ["git", "log", "-1", "--format=%ct"],
            cwd=ROOT,
            capture_output=True,
            check=True,
            text=True,
        ).stdout.strip()
    )


def main() -> None:
    """Build, and print the files."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("tree", nargs="?", type=Path, default=ROOT)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    for path in build(given.tree, given.out or given.tree / "dist"):
        print(path)


if __name__ == "__main__":
    main()
