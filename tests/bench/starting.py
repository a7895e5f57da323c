"""Measure the time from exec until a server is ready, and the memory of an idle server.

The servers take turns. Memory is read when a server has become idle.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psutil

from tests.bench.rivals.base import NotStartedError
from tests.bench.runner import rest, started
from tests.bench.summary import turned

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.bench.rivals.base import Rival

__all__ = ["starts"]


def starts(
    rivals: dict[str, Rival], times: int, tell: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Start every server so many times; return seconds and resident octets of each start."""
    found = []
    for number in range(times):
        for name in turned(list(rivals), number):
            try:
                with started(rivals[name]) as server:
                    rest(server)
                    rss = server.rss_bytes()
            except (NotStartedError, psutil.Error) as error:
                tell(f"  {name}: {error}")
                continue
            found.append({"round": number, "server": name, "seconds": server.seconds, "rss": rss})
        tell(f"starts, {number + 1} of {times}")
    return found
