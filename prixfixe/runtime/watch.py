"""What the rooms share that read a file again while the server runs.

Owns: telling that files are others than before, and the result of reading them again.
Promises: symbolic links are followed, so a swapped directory as in Kubernetes is seen; files are
others once two looks in a row find them the same, so that one being written is not read by halves,
nor a new certificate with the old key.
Refuses: reading, and deciding when to look; what is no regular file.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO, NamedTuple

__all__ = ["ReloadResult", "Watch", "open_plain"]

_Stamp = tuple[int, ...] | None  # None: there is no such file, or we may not see it.


def open_plain(path: str | Path) -> BinaryIO:
    """Open a regular file for reading. A pipe would be waited for, a device never ends.

    Raises:
        OSError: it is something else, or cannot be opened.

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
    """Whether what was read is now in use, and if not, why."""

    ok: bool
    reason: str = ""


class Watch:
    """Files that are read together, as they were when last read and when last looked at."""

    def __init__(self, *paths: str) -> None:
        self._paths = paths
        self.read()

    def read(self) -> None:
        """Note that the files are about to be read: a change in between shows at the next look."""
        self._read = self._seen = self._stamps()

    def is_due(self) -> bool:
        """Look; return whether the files are to be read again."""
        before, self._seen = self._seen, self._stamps()
        return self._seen == before != self._read

    def is_as_read(self) -> bool:
        """Return whether the files are still those that were read last."""
        return self._stamps() == self._read

    def _stamps(self) -> tuple[_Stamp, ...]:
        return tuple(_stamp(path) for path in self._paths)


def _stamp(path: str) -> _Stamp:
    """Return a value that differs when the file at `path` was written, replaced or opened to us."""
    try:
        stat = Path(path).stat()
    except OSError:
        return None
    # The change time also moves when only rights do (chmod, chown).
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns
