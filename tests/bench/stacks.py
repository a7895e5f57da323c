"""Sort sampled stacks into a few kinds.

A sample counts once, by the frame nearest to the end of its stack that matches a kind. `profiling`
takes the samples.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from tests.bench import document

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["KINDS", "kind", "shares", "table"]

# The first that fits a frame, from the end of a stack on.
KINDS = {
    "sending (kernel)": re.compile(r"(?:__libc_|__)?(?:write|writev|send|sendmsg)\b.* \(lib"),
    "receiving (kernel)": re.compile(r"(?:__libc_|__)?(?:read|recv|recvfrom)\b.* \(lib"),
    "waiting for events": re.compile(r"epoll_\w*wait"),
    "waiting for the interpreter's lock": re.compile(r"take_gil|pthread_cond_\w*wait"),
    "Python: PrixFixe": re.compile(r"prixfixe/"),
    "Python: aiosmtpd": re.compile(r"aiosmtpd/"),
    "event loop": re.compile(r"uvloop|asyncio/|selectors\.py|uv__"),
}


def kind(stack: str) -> str:
    """Return the kind of a stack, which is written from its beginning to its end."""
    for frame in reversed(stack.split(";")):
        for name, pattern in KINDS.items():
            if pattern.search(frame):
                return name
    return "other"


def shares(raw: str) -> dict[str, float]:
    """Return what part of the samples is of each kind, from py-spy's raw output."""
    found: Counter[str] = Counter()
    for line in raw.splitlines():
        stack, _, count = line.rpartition(" ")
        found[kind(stack)] += int(count)
    total = sum(found.values()) or 1
    return {name: count / total for name, count in found.most_common()}


def table(found: Mapping[str, tuple[float, Mapping[str, float]]]) -> str:
    """Return a table, from each server's microseconds a message and its shares."""
    rows = [["a message", *(f"{us:.1f}" for us, _ in found.values())]]
    for name in (*KINDS, "other"):
        cells = [f"{parts.get(name, 0) * us:.1f}" for us, parts in found.values()]
        if {*cells} != {"0.0"}:
            rows.append([name, *cells])
    return document.table(["us of processor time", *found], rows)
