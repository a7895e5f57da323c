"""What the stores on disk share: folders, the lock, free space, and the words of their errors.

Owns: creating and fsyncing folders, one writer per store by `flock`, the free-space watermark.
Promises: an open that fails says which path, which user and what to do; the lock ends with the
process, however it ends.
Refuses: message formats.
"""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from typing import TYPE_CHECKING

from prixfixe.stores.base import Probe, StoreError, StoreOpenError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FreeSpace", "Lock", "fsync_folder", "make_folder", "open_error", "store_error"]

_FULL = (errno.ENOSPC, errno.EDQUOT)
_REMEDIES = {
    errno.EACCES: "give it to that user (chown), or run as its owner (docker run --user)",
    errno.EPERM: "give it to that user (chown), or run as its owner (docker run --user)",
    errno.EROFS: "mount it writable, or set SMTP_STORE to a path on a volume",
    errno.ENOSPC: "free some space on its file system",
    errno.ENOTDIR: "set SMTP_STORE to a path whose parents are folders",
}


def open_error(path: Path | str, error: OSError) -> StoreOpenError:
    """Return the error of a store that cannot be opened: path, user, reason, remedy."""
    remedy = _REMEDIES.get(error.errno or 0, "check SMTP_STORE")
    user = f"{os.geteuid()}:{os.getegid()}"
    return StoreOpenError(f"store {path}: {error.strerror} as user {user}; {remedy}")


def store_error(error: OSError) -> StoreError:
    """Return the error of a write that failed."""
    return StoreError(str(error), kind="full" if error.errno in _FULL else "io")


def fsync_folder(path: Path) -> None:
    """Make the names in a folder survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(path: Path) -> None:
    """Create a folder and its parents, each one's name fsynced in its own parent.

    Raises:
        StoreOpenError: it cannot be created or written.

    """
    try:
        missing = [folder for folder in (path, *path.parents) if not folder.exists()]
        for folder in reversed(missing):
            folder.mkdir(mode=0o700, exist_ok=True)
            fsync_folder(folder.parent)
        if not os.access(path, os.W_OK | os.X_OK):
            read_only = os.statvfs(path).f_flag & os.ST_RDONLY
            number = errno.EROFS if read_only else errno.EACCES
            raise OSError(number, os.strerror(number))
    except OSError as error:
        raise open_error(path, error) from error


class Lock:
    """One writing process per store."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1

    def acquire(self) -> None:
        """Take the lock and note who holds it.

        Raises:
            StoreOpenError: another process has it, or it cannot be created.

        """
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise open_error(self._path, error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            msg = (
                f"store {self._path}: in use by another server (process {holder});"
                " stop it, or give this one a store of its own"
            )
            raise StoreOpenError(msg) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        """Let go; harmless when nothing is held."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class FreeSpace:
    """The watermark: below `least` octets free, nothing more is taken."""

    _SECONDS = 1.0  # statvfs at most this often

    def __init__(self, folder: Path, least: int, clock: Callable[[], float]) -> None:
        self._folder = folder
        self._least = least
        self._clock = clock
        self._looked_at = float("-inf")
        self._is_low = False

    def look(self) -> Probe:
        """Return what is free now.

        Raises:
            StoreError: less than the watermark is free, or the file system does not answer.

        """
        try:
            found = os.statvfs(self._folder)
        except OSError as error:
            raise store_error(error) from error
        free = found.f_bavail * found.f_frsize
        self._looked_at = self._clock()
        self._is_low = free < self._least
        if self._is_low:
            msg = f"{free} octets free, fewer than SMTP_STORE_MIN_FREE ({self._least})"
            raise StoreError(msg, kind="full")
        return Probe(free, found.f_favail if found.f_files else None)

    def check(self) -> None:
        """Raise `StoreError` when space is low, looking at most once a second."""
        now = self._clock()
        if self._is_low or not 0 <= now - self._looked_at < self._SECONDS:
            self.look()
