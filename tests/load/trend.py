"""The judge of leaks: does memory grow by every round of the same load, beyond what rounds scatter.

The slope is Theil and Sen's, the median over all pairs of rounds, so that one odd round moves
nothing. What is judged is the lower end of its confidence interval (Sen 1968, from Kendall's S):
an allocator that takes a step, fills up or scatters has a lower end near zero, a leak has not.
A leak goes on as long as the load does, so a window of rounds is only believed when the windows
after it say the same.
"""

import math
from itertools import combinations
from statistics import median
from typing import NamedTuple

__all__ = [
    "LEAST_OCTETS",
    "ROUNDS",
    "WINDOWS",
    "LeakError",
    "Trend",
    "check",
    "is_leak",
    "trend_of",
]

ROUNDS = 8  # a window
WINDOWS = 3  # that must agree
LEAST_OCTETS = 40  # a message, the least that is called a leak
LEAST_GROWTH = 128 << 10  # octets in a window: 32 pages, fewer are the kernel's and not a program's
_DEVIATES = 2.326  # of the normal distribution: one side, 99 %


class LeakError(AssertionError):
    """Memory grows with the load."""


class Trend(NamedTuple):
    """Octets a round: the slope, the lower end of its interval, and the scatter around the line."""

    slope: float
    lower: float
    scatter: float


def trend_of(samples):
    """Return the trend of one sample after each round; at least six of them."""
    count = len(samples)
    if count < 6:
        raise ValueError(f"{count} rounds say nothing about a slope: 6 are the least")
    pairs = combinations(enumerate(samples), 2)
    slopes = sorted((late - early) / (at - since) for (since, early), (at, late) in pairs)
    deviation = math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    lowest = max(0, int((len(slopes) - _DEVIATES * deviation) / 2))
    slope = median(slopes)
    base = median(one - slope * at for at, one in enumerate(samples))
    scatter = median(abs(one - slope * at - base) for at, one in enumerate(samples))
    return Trend(slope, slopes[lowest], scatter)


def is_leak(trend, messages, rounds=ROUNDS):
    """Tell whether a window's growth is certain and large enough to be a leak."""
    least = max(LEAST_GROWTH, LEAST_OCTETS * messages * (rounds - 1))
    return trend.lower * (rounds - 1) >= least


def check(play, messages, windows=WINDOWS):
    """Play rounds of `messages` each, until a window shows no leak; return its trend.

    `play` carries out one round and returns the octets that are resident after it.

    Raises:
        LeakError: every window shows a leak.

    """
    told = []
    for _ in range(windows):
        samples = [play() for _ in range(ROUNDS)]
        trend = trend_of(samples)
        if not is_leak(trend, messages):
            return trend
        told.append(
            f"{trend.slope / messages:.0f} octets a message (surely {trend.lower / messages:.0f})"
        )
    raise LeakError(f"memory grows in each of {windows} windows of rounds: {', '.join(told)}")
