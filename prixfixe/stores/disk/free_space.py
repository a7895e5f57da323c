"""Free space and inodes of a store's file system, with the reserve `min_free`.

While there is room, `statvfs` is called at most once a second. No message is refused because of an
old answer, and a burst cannot use up the reserve between two answers.
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
        self,
        folder: Path,
        min_free: int,
        told: Callable[[Probe], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._min_free = min_free
        self._told = told
        self._clock = clock
        self._asked_at = float("-inf")
        self._last = Probe()
        self._spent = 0  # bytes written since, as far as we know

    def check(self, octets: int = 0) -> Probe:
        """Return what is free, at most a second old, before so much is written.

        Raises:
            OSError: the file system does not answer.
            StoreError: of kind full, there is less than the reserve.

        """
        is_old = self._clock() - self._asked_at >= MAX_AGE_SECONDS
        if is_old or self._lack(self._spent + octets):
            self._ask()
        if lack := self._lack(0):
            raise StoreError(lack, kind="full")
        self._spent += octets
        return self._last

    def _ask(self) -> None:
        stat = os.statvfs(self._folder)
        # File systems without a table of inodes (btrfs, overlay on some) say 0 of 0.
        inodes = stat.f_favail if stat.f_files else None
        unit = stat.f_frsize
        self._last = Probe(stat.f_bavail * unit, inodes, stat.f_blocks * unit)
        self._asked_at, self._spent = self._clock(), 0
        self._told(self._last)

    def _lack(self, spent: int) -> str:
        """Return what there is too little of, or nothing."""
        free, inodes = self._last.free_bytes, self._last.free_inodes
        if free is not None and free - spent < self._min_free:
            return f"{free} bytes free, {self._min_free} wanted"
        if inodes is not None and inodes < MIN_FREE_INODES:
            return f"{inodes} inodes free, {MIN_FREE_INODES} wanted"
        return ""
