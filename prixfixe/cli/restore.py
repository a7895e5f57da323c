"""`prixfixe restore`: put what `backup` wrote in the place of a stopped server's store."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from prixfixe.cli.backup import failures, report
from prixfixe.cli.environment import settings
from prixfixe.stores import database_path
from prixfixe.stores.sqlite_backup import restore

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

__all__ = ["run"]


def run(args: argparse.Namespace) -> int:
    """Prove, then put in place."""
    url = settings().store
    with failures(args.file), _opened(args.file) as stream:
        store = database_path(url, "restore")
        copied, old = restore(store, stream, replace=args.replace)
    kept = f"; the store that was there is now {old}" if old else ""
    return report(copied, f"restored to {store}{kept}")


@contextmanager
def _opened(file: str) -> Iterator[IO[bytes]]:
    if file == "-":
        yield sys.stdin.buffer
        return
    with Path(file).open("rb") as stream:
        yield stream
