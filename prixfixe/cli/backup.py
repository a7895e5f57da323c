"""`prixfixe backup` and `prixfixe restore`: copy a SQLite store to one file, and back.

A backup can be made while mail arrives. `restore` changes nothing unless it exits with 0.
"""

from __future__ import annotations

import shutil
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from prixfixe.cli.environment import Failure, complain, settings
from prixfixe.runtime.watch import open_plain
from prixfixe.stores.base import StoreError, StoreOpenError
from prixfixe.stores.registry import database_path
from prixfixe.stores.sqlite.backup import back_up
from prixfixe.stores.sqlite.restore import DamagedCopyError, ForeignCopyError
from prixfixe.stores.sqlite.restore import restore as restore_copy

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from prixfixe.stores.sqlite.verify import Copied

__all__ = ["backup", "restore"]


def backup(args: argparse.Namespace) -> int:
    """Copy the store, check the copy, and report what was copied."""
    effective = settings()
    with _failures(args.file):
        store = database_path(effective.store, "copy")
        if args.file == "-":
            beside = store.with_name(store.name + ".backup")
            copied = back_up(store, beside, min_free=effective.store_min_free, deliver=_send)
        else:
            copied = back_up(store, Path(args.file), min_free=effective.store_min_free)
    where = "standard output" if args.file == "-" else args.file
    return _report(copied, f"copied to {where}")


def _send(path: Path) -> None:
    if sys.stdout.isatty():
        raise Failure(2, "standard output is a terminal; name a file, or redirect it to one")
    with path.open("rb") as file:
        shutil.copyfileobj(file, sys.stdout.buffer, 1 << 20)
    sys.stdout.buffer.flush()


@contextmanager
def _failures(file: str) -> Iterator[None]:
    """Turn the failures of both commands into a line and an exit code."""
    try:
        yield
    except StoreOpenError as error:
        raise Failure(3, error) from None
    except StoreError as error:
        raise Failure(1, error) from error
    except FileExistsError:
        msg = f"{file}: is there already; expected the name of a new file"
        raise Failure(1, msg) from None


def _report(copied: Copied, what: str) -> int:
    """Print what was done and the faults of the copy; return 1 if it has any."""
    print(f"{copied.messages} messages, {copied.bytes} octets {what}", file=sys.stderr)
    for fault in copied.faults:
        complain(fault)
    return 1 if copied.faults else 0


def restore(args: argparse.Namespace) -> int:
    """Check the copy, then replace the store with it."""
    url = settings().store
    with _failures(args.file), _unharmed(args.file), _opened(args.file) as stream:
        store = database_path(url, "restore")
        copied, old = restore_copy(store, stream, replace=args.replace, damaged=args.damaged)
    kept = f"; the store that was there is now {old}" if old else ""
    _report(copied, f"restored to {store}{kept}")
    return 0


@contextmanager
def _unharmed(file: str) -> Iterator[None]:
    """Report the faults of a copy that was not restored."""
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
