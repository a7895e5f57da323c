"""Reading of files that may change while the server runs, and detection of changes.

Symbolic links are followed, so that the swapped directory of a Kubernetes secret is noticed. Files
count as changed once two looks in a row find them the same, so that none is read half written.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO, NamedTuple

__all__ = ["ReloadResult", "Watch", "open_plain"]

_Stamp = tuple[int, ...] | None  # None: the file does not exist or is not accessible.


def open_plain(path: str | Path) -> BinaryIO:
    """Open a regular file for reading: a pipe would block, and a device may never end.

    Raises:
        OSError: the file is not a regular file, or cannot be opened.

    """
    file = open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")  # noqa: PTH123, SIM115
    mode = os.fstat(file.fileno()).st_mode
    if stat.S_ISREG(mode):
        return file
    file.close()
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise OSError(errno.EINVAL, "not a regular file", str(path))


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
