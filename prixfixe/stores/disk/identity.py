"""Check whether an open file or folder is still the one that its name leads to."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from prixfixe.stores.base import StoreError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Identity", "displaced", "identify", "named"]


class Identity(NamedTuple):
    """What tells a file from every other while one of them is open."""

    device: int
    inode: int


def identify(stat: os.stat_result) -> Identity:
    """Return the identity in an answer of the system."""
    return Identity(stat.st_dev, stat.st_ino)


def named(path: Path | str, *, follow: bool = True) -> os.stat_result | None:
    """Return what a name leads to now, or None when that is nothing. Raises `OSError`."""
    try:
        return os.stat(path, follow_symlinks=follow)  # noqa: PTH116  # a Path costs more
    except (FileNotFoundError, NotADirectoryError):
        return None


def displaced(path: Path | str, what: str) -> StoreError:
    """Return the error for a file that a new start would not find as it is open here."""
    text = f"{path} {what} while the server ran; put it back, or start the server again"
    return StoreError(text, kind="displaced")
