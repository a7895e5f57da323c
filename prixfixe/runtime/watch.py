"""Detection of changed files.

Symbolic links are followed, so that the swapped directory of a Kubernetes secret is noticed. Files
count as changed once two looks in a row find them the same, so that none is read half written.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

__all__ = ["ReloadResult", "Watch"]

_Stamp = tuple[int, ...] | None  # None: the file does not exist or is not accessible.


class ReloadResult(NamedTuple):
    """Whether the files on disk are now in use, and the reason if not."""

    ok: bool
    reason: str = ""


class Watch:
    """A group of files, with their state at the last read and at the last look."""

    def __init__(self, *paths: str) -> None:
        self._paths = paths
        self.read()

    def read(self) -> None:
        """Note that the files are about to be read; a change during the read is seen later."""
        self._read = self._seen = self._stamps()

    def is_due(self) -> bool:
        """Look at the files; return whether they must be read again."""
        before, self._seen = self._seen, self._stamps()
        return self._seen == before != self._read

    def is_as_read(self) -> bool:
        """Return whether the files are unchanged since the last read."""
        return self._stamps() == self._read

    def _stamps(self) -> tuple[_Stamp, ...]:
        return tuple(_stamp(path) for path in self._paths)


def _stamp(path: str) -> _Stamp:
    """Return a value that changes if the file is written, replaced or made accessible."""
    try:
        stat = Path(path).stat()
    except OSError:
        return None
    # chmod and chown change the change time too.
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns
