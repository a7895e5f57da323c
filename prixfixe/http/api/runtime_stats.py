"""What Mailpit's `RuntimeStats` tell of a running server."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prixfixe.telemetry.metrics import Metrics

__all__ = ["RuntimeStats"]


class RuntimeStats:
    """The statistics of one server; `deleted` counts the messages that HTTP deleted."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._since = time.monotonic()
        self.deleted = 0

    def record(self) -> dict[str, int]:
        """Return them by Mailpit's names: seconds, bytes and messages since the start."""
        handled = self._metrics.handled()
        return {
            "Uptime": int(time.monotonic() - self._since),
            "Memory": _resident_bytes(),
            "MessagesDeleted": self.deleted + handled.pruned,
            "SMTPAccepted": handled.accepted,
            "SMTPAcceptedSize": handled.accepted_bytes,
            "SMTPRejected": handled.refused,
            "SMTPIgnored": 0,  # Mailpit ignores duplicates where it is told to; every 250 is kept
        }


def _resident_bytes() -> int:
    """Return the resident memory of this process, 0 where the system does not tell."""
    try:
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 - read at each request
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0
