"""What a server takes of its machine: memory, descriptors, threads.

Owns: measuring the container's PID 1, and what counts as back where it was.
Promises: measured by a second process of the container, so neither the engine's place nor the
rights of the one who tests matter. Refuses: rates and times.

Descriptors and threads come back exactly. Memory comes back to within LEEWAY: once SQLite's cache of
8 MiB is full and the allocator has seen every size, 40,000 messages more were seen to add less than
400 KiB. A scenario is therefore measured after a load of its own kind; 10,000 messages that leave
105 octets each behind are too many.
"""

import json
from typing import NamedTuple

from tests.container.waiting import eventually

__all__ = ["LEEWAY", "Vitals", "check_back", "of"]

MIB = 1 << 20
LEEWAY = MIB
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


def check_back(box, before, leeway=LEEWAY):
    """Wait until all is back where it was, and return what was measured then."""
    seen = []

    def is_back():
        seen.append(of(box))
        now = seen[-1]
        is_slim = now.rss <= before.rss + leeway
        return is_slim and now.fds <= before.fds and now.threads <= before.threads

    try:
        eventually(is_back, 15, pause=0.5)
    except AssertionError:
        raise AssertionError(f"before the load {before}, afterwards {seen[-1]}") from None
    return seen[-1]
