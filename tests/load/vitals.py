"""What a server takes of its machine: memory, descriptors, threads.

Owns: measuring the container's PID 1, and what counts as back where it was.
Promises: measured by a second process of the container, so neither the engine's place nor the
rights of the one who tests matter. Refuses: rates and times.

Descriptors and threads come back exactly. Memory comes back to within LEEWAY: once SQLite's cache of
8 MiB is full and the allocator has seen every size, 40,000 messages more were seen to add less than
400 KiB. A scenario is therefore measured after a load of its own kind; 10,000 messages that leave
105 octets each behind are too many. After a crowd the allocator keeps pages that a few long-lived
objects share: eight crowds of a thousand in a row came back to within 2 MiB of the second, a second
5,000 idle clients to within 6 MiB of the first. Sessions that stay are more than CROWD_LEEWAY. A soak's
second half may add SOAK_LEEWAY: of ten minutes at 50 a second that is 140 octets a message, of an
hour 23.
"""

import json
from typing import NamedTuple

from tests.container.waiting import eventually

__all__ = ["CROWD_LEEWAY", "LEEWAY", "SOAK_LEEWAY", "Vitals", "check_back", "of", "settled"]

MIB = 1 << 20
LEEWAY = MIB
CROWD_LEEWAY = 8 * MIB  # a thousand sessions are 9.5 MiB
SOAK_LEEWAY = 2 * MIB
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
