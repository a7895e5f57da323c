"""`prixfixe restore`: put what `backup` wrote in the place of a stopped server's store.

Owns: the command's words. Promises: exit 0 means the copy is the store now, anything else that
nothing was changed. Refuses: a damaged copy, unless `--damaged` asks for what is left of it.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from prixfixe.cli.backup import failures, report
from prixfixe.cli.environment import Failure, complain, settings
from prixfixe.runtime.watch import open_plain
from prixfixe.stores.registry import database_path
from prixfixe.stores.sqlite.restore import DamagedCopyError, ForeignCopyError, restore

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

__all__ = ["run"]


def run(args: argparse.Namespace) -> int:
    """Prove, then put in place."""
    url = settings().store
    with failures(args.file), _unharmed(args.file), _opened(args.file) as stream:
        store = database_path(url, "restore")
        copied, old = restore(store, stream, replace=args.replace, damaged=args.damaged)
    kept = f"; the store that was there is now {old}" if old else ""
    report(copied, f"restored to {store}{kept}")
    return 0


@contextmanager
def _unharmed(file: str) -> Iterator[None]:
    """Say what is wrong with a copy that was left alone."""
    name = "standard input" if file == "-" else file
    try:
        yield
    except ForeignCopyError as error:
        msg = f"{name} {error}: nothing was changed"
        raise Failure(1, msg) from None
    except DamagedCopyError as error:
        for fault in error.copied.faults:
            complain(fault)
        msg = f"{name} is damaged: nothing was changed; --damaged restores what is left of it"
        raise Failure(1, msg) from None


@contextmanager
def _opened(file: str) -> Iterator[IO[bytes]]:
    if file == "-":
        yield sys.stdin.buffer
        return
    try:
        stream = open_plain(file)
    except OSError as error:
        msg = f"{file}: {error.strerror}; expected a file that backup made, or - for standard input"
        raise Failure(1, msg) from None
    with stream:
        yield stream
