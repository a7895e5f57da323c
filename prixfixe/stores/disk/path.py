"""The path in the URL of a store on a disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["absolute", "is_path"]


def is_path(rest: str) -> bool:
    """Return whether this names a file or folder."""
    # SQLite would keep ":memory:" in memory and call it durable.
    return bool(rest) and rest != ":memory:"


def absolute(rest: str) -> Path:
    """Return the whole path, for an error names it."""
    from pathlib import Path  # a probe reads settings and needs no pathlib

    return Path(rest).absolute()
