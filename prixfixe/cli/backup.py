"""`prixfixe backup` and `prixfixe restore`: copy a SQLite store to one file, and back.

A backup can be made while mail arrives. `restore` changes nothing unless it exits with 0.
"""

from __future__ import annotations

import shutil
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from prixfixe.cli.environment import Failure, complain, settings
from prixfixe.stores.base import StoreError, StoreOpenError
from prixfixe.stores.registry import database_path
from prixfixe.stores.sqlite.backup import back_up

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from prixfixe.stores.sqlite.verify import Copied

__all__ = ["failures", "report", "run"]


def run(args: argparse.Namespace) -> int:
    """Copy, prove, and say what was copied."""
    effective = settings()
    with failures(args.file):
        store = database_path(effective.store, "copy")
        if args.file == "-":
            beside = store.with_name(store.name + ".backup")
            copied = back_up(store, beside, min_free=effective.store_min_free, deliver=_send)
        else:
            copied = back_up(store, Path(args.file), min_free=effective.store_min_free)
    where = "standard output" if args.file == "-" else args.file
    return report(copied, f"copied to {where}")


def _send(path: Path) -> None:
    if sys.stdout.isatty():
        raise Failure(2, "standard output is a terminal; name a file, or redirect it to one")
    with path.open("rb") as file:
        shutil.copyfileobj(file, sys.stdout.buffer, 1 << 20)
    sys.stdout.buffer.flush()


@contextmanager
def failures(file: str) -> Iterator[None]:
    """Turn what can go wrong into one line and an exit code."""
    try:
        yield
    except StoreOpenError as error:
        raise Failure(3, error) from None
    except StoreError as error:
        raise Failure(1, error) from error
    except FileExistsError:
        msg = f"{file}: is there already; expected the name of a new file"
        raise Failure(1, msg) from None


def report(copied: Copied, what: str) -> int:
    """Say what was done and what is wrong with it."""
    print(f"{copied.messages} messages, {copied.bytes} octets {what}", file=sys.stderr)
    for fault in copied.faults:
        complain(fault)
    return 1 if copied.faults else 0
