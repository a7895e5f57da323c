"""The judge of leaks on made-up memory: what allocators do is none, what grows by every round is."""

import random
from itertools import count

import pytest

from tests.load import trend

KIB, MIB = 1 << 10, 1 << 20
MESSAGES = 2000
SEEDS = range(200)
HARMLESS = {
    "flat": lambda at, noise: 0,
    "one step": lambda at, noise: 3 * MIB * (at >= 4),
    "fills up": lambda at, noise: 3 * MIB * (1 - 0.6**at),
    "scatters": lambda at, noise: noise.gauss(0, MIB),
    "one odd round": lambda at, noise: 20 * MIB * (at == 5) + noise.gauss(0, 50 * KIB),
    "a page now and then": lambda at, noise: 8 * KIB * at,
}


def memory(form, seed):
    """Return what plays a round and says what is resident after it."""
    noise, rounds = random.Random(seed), count()
    return lambda: round(60 * MIB + form(next(rounds), noise))


@pytest.mark.parametrize("name", HARMLESS)
def test_what_an_allocator_does_is_no_leak(name):
    for seed in SEEDS:
        trend.check(memory(HARMLESS[name], seed), MESSAGES)


@pytest.mark.parametrize("scatter", [0, 50 * KIB, 150 * KIB])
def test_a_hundred_octets_a_message_are_a_leak_above_scatter(scatter):
    """133 octets: a hundred, and what an object of Python's has in front of them."""
    for seed in SEEDS[:50]:
        leak = memory(lambda at, noise: 133 * MESSAGES * at + noise.gauss(0, scatter / 2), seed)
        with pytest.raises(trend.LeakError, match="in each of 3 windows"):
            trend.check(leak, MESSAGES)


def test_too_few_rounds_are_refused():
    with pytest.raises(ValueError, match="6 are the least"):
        trend.trend_of([1, 2, 3, 4, 5])
