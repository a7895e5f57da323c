"""The image, built here or brought here, under the name prixfixe.

    python -m release.image [--save FILE | --load FILE | --pull NAME@DIGEST [--record FILE]]

Without an option, or with --save, it is built by scripts/build.sh. --record writes the digest that
was pulled to a file, for `release.index`.
"""

from __future__ import annotations

import argparse
import subprocess
from pathlib import Path

__all__ = ["main"]

ROOT = Path(__file__).resolve().parents[1]
NAME = "prixfixe"


def main(words: list[str] | None = None) -> None:
    """Do what the options ask for."""
    parser = argparse.ArgumentParser(prog="release.image", description=__doc__.partition("\n")[0])
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--save", metavar="FILE", type=Path, help="build, and write the image")
    what.add_argument("--load", metavar="FILE", type=Path, help="read the image")
    what.add_argument("--pull", metavar="NAME@DIGEST", help="pull the image")
    parser.add_argument("--record", metavar="FILE", type=Path, help="write the digest")
    given = parser.parse_args(words)
    if given.load:
        _docker("load", "--input", str(given.load))
    elif given.pull:
        pull(given.pull, given.record)
    else:
        subprocess.run([ROOT / "scripts" / "build.sh"], check=True)
    if given.save:
        _docker("save", "--output", str(given.save), NAME)


def pull(reference: str, record: Path | None) -> None:
    """Pull an image by its digest and name it."""
    _docker("pull", reference)
    _docker("tag", reference, NAME)
    if record:
        record.parent.mkdir(parents=True, exist_ok=True)
        record.write_text(reference.partition("@")[2] + "\n")


def _docker(*words: str) -> None:
    subprocess.run(["docker", *words], check=True)


if __name__ == "__main__":
    main()
