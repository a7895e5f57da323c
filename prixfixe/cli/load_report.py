"""`prixfixe load report FILE...`: one table and one page of results, beside what servers keep."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from prixfixe.cli.environment import Failure, complain
from prixfixe.load.extras import MissingExtraError, need
from prixfixe.load.kept import faults, listing
from prixfixe.load.outcome import merged
from prixfixe.load.report import as_table
from prixfixe.load.results import FormatError, as_json, read

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from prixfixe.load.outcome import Outcome
    from prixfixe.load.results import Run

__all__ = ["needed", "require", "run", "show"]

_PAGE_PACKAGES = ("jinja2", "matplotlib")


def run(args: argparse.Namespace) -> int:
    """Read and show; exit 1 when what is kept is not what was accepted."""
    needed(args)
    results = [(name, _read(name)) for name in args.files]
    found = _compared([one for _, runs in results for one in runs], args.kept)
    several = len(results) > 1
    named = [
        (f"{_stem(name)} {one.target}" if several else one.target, one)
        for name, runs in results
        for one in runs
    ]
    lines = [(_stem(name), merged(one.outcome for one in runs)) for name, runs in results]
    show(args, named, lines=lines if several else (), found=found)
    for line in found:
        complain(line)
    return 1 if found else 0


def needed(args: argparse.Namespace) -> None:
    """Fail with 2 when the page cannot be made, before anything else is done."""
    if args.html is not None:
        require("--html", *_PAGE_PACKAGES)


def require(option: str, *packages: str) -> None:
    """Fail with 2 when a package that an option needs is not installed."""
    try:
        need(option, *packages)
    except MissingExtraError as error:
        raise Failure(2, error) from None


def show(
    args: argparse.Namespace,
    named: Sequence[tuple[str, Run]],
    *,
    lines: Sequence[tuple[str, Outcome]] = (),
    found: Sequence[str] = (),
) -> None:
    """Print runs as the options say, and write the page where they name one."""
    outcomes = [(name, one.outcome) for name, one in named]
    print(as_json([one for _, one in named]) if args.json else as_table(outcomes))
    if args.html is not None:
        from prixfixe.load.page import as_html  # slow to load, and of an extra

        args.html.write_text(as_html(outcomes, lines=lines, faults=found), encoding="utf-8")


def _stem(name: str) -> str:
    return Path(name).stem


def _read(name: str) -> list[Run]:
    text = sys.stdin.read() if name == "-" else Path(name).read_text("utf-8", "replace")
    try:
        return read(text)
    except FormatError as error:
        raise Failure(2, f"{name}: expected {error}") from None


def _compared(runs: Sequence[Run], kept: Sequence[tuple[str, Path]]) -> list[str]:
    found: list[str] = []
    for name, file in kept:
        host = name.strip("[]")
        mine = [one for one in runs if one.target.rpartition(":")[0].strip("[]") == host]
        if len(mine) != 1:
            raise Failure(2, f"--kept {host}: expected one run of it, not {len(mine)}")
        try:
            with file.open(encoding="utf-8", errors="replace") as text:
                found += faults(mine[0], listing(text))
        except FormatError as error:
            raise Failure(2, f"{file}: expected {error}") from None
    return found
