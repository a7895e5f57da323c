"""Free space and free inodes under a store: refuse before the disk does.

Owns: the reserve (`min_free`) and how often the file system is asked. Promises: one `statvfs` a
second at most. Refuses: to guess what a message needs; a disk that fills up under the reserve
is the technology's error to report.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from prixfixe.stores.base import Probe, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["DiskSpace"]

MAX_AGE_SECONDS = 1.0
# Enough for the files a store opens beside the mail (log, shared memory, probe).
MIN_FREE_INODES = 16


class DiskSpace:
    """The last answer of the file system, and when it was given."""

    def __init__(
        self, folder: Path, min_free: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._folder = folder
        self._min_free = min_free
        self._clock = clock
        self._asked_at = float("-inf")
        self._last = Probe()

    def look(self) -> Probe:
        """Return what is free, at most a second old. Raises `OSError`."""
        now = self._clock()
        if now - self._asked_at >= MAX_AGE_SECONDS:
            stat = os.statvfs(self._folder)
            # File systems without a table of inodes (btrfs, overlay on some) say 0 of 0.
            inodes = stat.f_favail if stat.f_files else None
            unit = stat.f_frsize
            self._last = Probe(stat.f_bavail * unit, inodes, stat.f_blocks * unit)
            self._asked_at = now
        return self._last

    def check(self) -> Probe:
        """Return what is free. Raises `StoreError` of kind full below the reserve."""
        free = self.look()
        if free.free_bytes is not None and free.free_bytes < self._min_free:
            msg = f"{free.free_bytes} bytes free, {self._min_free} wanted"
            raise StoreError(msg, kind="full")
        if free.free_inodes is not None and free.free_inodes < MIN_FREE_INODES:
            msg = f"{free.free_inodes} inodes free, {MIN_FREE_INODES} wanted"
            raise StoreError(msg, kind="full")
        return free
