"""The folder of a store: created, locked, probed, synced, and its errors explained."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import stat
from typing import TYPE_CHECKING

from prixfixe.stores.base import StoreError, StoreOpenError
from prixfixe.stores.disk.identity import identify, named

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "FolderLock",
    "explain",
    "is_locked",
    "make_folder",
    "require_file",
    "store_error",
    "sync_folder",
    "write_probe",
]

PROBE_NAME = ".prixfixe-probe"
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


def store_error(error: OSError) -> StoreError:
    """Return what a failed system call means to the client: full, or any other trouble."""
    made = StoreError(str(error), kind="full" if error.errno in _FULL else "io")
    made.__cause__ = error
    return made


def explain(path: Path, error: OSError) -> StoreOpenError:
    """Return what a failed system call means to the operator."""
    who = f"{os.geteuid()}:{os.getegid()}"
    remedies = {
        errno.EACCES: f"not writable by {who}; run `chown -R {who}` on it, or start with `--user` "
        "set to its owner",
        errno.EROFS: "on a read-only file system; mount a volume there, and read-write",
        errno.ENOSPC: "on a full file system; free some space",
        errno.EDQUOT: f"over the disk quota of {who}; free some space",
        errno.ENOTDIR: "not a directory; name another path",
        errno.EEXIST: "not a directory; name another path",
        errno.EISDIR: "a directory; name a file in it",
    }
    remedies[errno.EPERM] = remedies[errno.EACCES]
    reason = remedies.get(error.errno or 0, f"not usable by {who}: {error.strerror or error}")
    made = StoreOpenError(f"store {path} is {reason}")
    made.__cause__ = error
    return made


def require_file(path: Path) -> None:
    """Refuse what is no regular file: a pipe would be waited for, a device never ends.

    Raises:
        StoreOpenError: it is something else.
        OSError: it is not there, or not to be seen.

    """
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        kind = "a directory" if stat.S_ISDIR(mode) else "a pipe, a socket or a device"
        msg = f"store {path} is {kind}; name a file"
        raise StoreOpenError(msg)


def sync_folder(folder: Path) -> None:
    """Put the names in a folder on disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make a folder and its parents, private to us, each new name synced in its parent."""
    if folder.is_dir():
        return
    if folder.parent != folder:
        make_folder(folder.parent)
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
    sync_folder(folder.parent)


def write_probe(folder: Path) -> None:
    """Write, sync and remove a small file, as a commit would."""
    path = folder / PROBE_NAME
    descriptor = _create(path)
    try:
        os.write(descriptor, b"probe\n")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
        with contextlib.suppress(OSError):
            path.unlink()


def _create(path: Path) -> int:
    """Make a file, in the place of one that a dead process left: that one is not written to."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o600)
    except FileExistsError:
        path.unlink()
        return os.open(path, flags, 0o600)


class FolderLock:
    """One server per store.

    SQLite and Maildir would both survive two writers, but retention would count another's
    messages, and recovery would clear away what another is writing. The kernel drops the lock
    with the process, so a crash leaves nothing to clean; the file stays, since removing it could
    let two processes lock two files of the same name.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def take(self, store: Path) -> None:
        """Take the lock. Raises `StoreOpenError` naming the holder, or `OSError`."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC  # what is locked is written
        descriptor = os.open(self._path, flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"pid {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        except BlockingIOError:
            holder = os.pread(descriptor, 300, 0).decode(errors="replace").strip()
            os.close(descriptor)
            msg = (
                f"store {store} is in use by {holder or 'another process'} (lock {self._path}); "
                "stop that server, or give this one a store of its own"
            )
            raise StoreOpenError(msg) from None
        except OSError:
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    def confirm(self, store: Path) -> None:
        """See that the lock is the file of its name; take it anew where that was removed.

        Raises:
            StoreError: another process took it meanwhile.
            OSError: it cannot be made.

        """
        held, found = self._descriptor, named(self._path, follow=False)
        if held is None or (found and identify(found) == identify(os.fstat(held))):
            return
        try:
            self.take(store)
        except StoreOpenError as error:
            raise StoreError(str(error), kind="displaced") from error
        os.close(held)

    def release(self) -> None:
        """Let the next process in."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def is_locked(path: Path) -> bool:
    """Tell whether a server holds this lock; works on a read-only file system."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
