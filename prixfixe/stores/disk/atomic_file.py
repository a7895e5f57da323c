"""Files that appear whole or not at all, made beside their final name.

The temporary file is private, and removed at the end. One that a dead process left is removed too.
No existing file is overwritten.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from typing import TYPE_CHECKING

from prixfixe.stores.base import StoreError
from prixfixe.stores.disk.folder import sync_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["partial_file", "publish", "sync"]

# File systems that know no second name for a file.
_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})


@contextlib.contextmanager
def partial_file(target: Path) -> Iterator[Path]:
    """Yield the name of an empty file beside `target`, locked, and remove it at the end."""
    if target.exists():
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
    path = target.with_name(target.name + ".partial")
    _clear(path)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        _claim(descriptor, path)
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _clear(path: Path) -> None:
    """Remove what a dead process left; never write to a file that another made.

    In a folder that others may write to, the name could be a link to a file of ours.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    except OSError as error:
        raise StoreError(f"{path} is no file of a backup ({error.strerror}); remove it") from error
    try:
        _claim(descriptor, path)
        path.unlink()
    finally:
        os.close(descriptor)


def _claim(descriptor: int, path: Path) -> None:
    """Lock a file, unless another process writes it or has put its own in its place."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_ours = os.path.samestat(os.fstat(descriptor), path.lstat())
    except (BlockingIOError, FileNotFoundError):
        is_ours = False
    if not is_ours:
        raise StoreError(f"{path} is being written by another process")


def sync(path: Path) -> None:
    """Wait until a file is on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def publish(partial: Path, target: Path) -> None:
    """Give a whole file its name, unless somebody else has it by now."""
    sync(partial)
    try:
        target.hardlink_to(partial)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        partial.rename(target)
    sync_folder(target.parent)
