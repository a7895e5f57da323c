"""What a server takes of its machine: memory, descriptors, threads, by PID 1 of its container.

They are measured by a second process of the container, so neither the engine's place nor the rights
of the one who tests matter. Descriptors and threads come back exactly. Memory does not: allocators
keep pages, so a leak is a slope over rounds of the same load (see `trend`), and one sample after a
load says nothing but that no whole message is held.
"""

import json
import math
from typing import NamedTuple

from tests.container.waiting import eventually
from tests.load import trend

__all__ = ["Vitals", "check_back", "check_no_leak", "of", "settled"]

MEASURE = """
import json, os, re
status = dict(re.findall(r"(?m)^(VmRSS|VmHWM|Threads):\\s+(\\d+)", open("/proc/1/status").read()))
print(json.dumps([int(status["VmRSS"]) << 10, int(status["VmHWM"]) << 10,
                  len(os.listdir("/proc/1/fd")), int(status["Threads"])]))
"""


class Vitals(NamedTuple):
    """Memory in octets, now and at most; descriptors and threads now."""

    rss: int
    peak: int
    fds: int
    threads: int


def of(box):
    """Measure a container."""
    return Vitals(*json.loads(box.python(MEASURE)))


def settled(box):
    """Measure when no connection is closing any more."""
    last = of(box)
    while (now := of(box)).fds < last.fds:
        last = now
    return now


def check_back(box, before, most=math.inf):
    """Wait until descriptors and threads are back, and memory is at `most`; return the vitals."""
    seen = []

    def is_back():
        seen.append(of(box))
        now = seen[-1]
        return now.rss <= most and now.fds <= before.fds and now.threads <= before.threads

    try:
        eventually(is_back, 15, pause=0.5)
    except AssertionError:
        raise AssertionError(f"before the load {before}, afterwards {seen[-1]}") from None
    return seen[-1]


def check_no_leak(box, play, messages):
    """Play rounds of so many messages, and fail when memory grows by every one of them."""

    def resident():
        play()
        return settled(box).rss

    return trend.check(resident, messages)
