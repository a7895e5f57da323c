"""Connections with work left: first come first served, and the loop held for a bounded time."""

import asyncio
import contextlib

from prixfixe.connection.turns import TURN_SECONDS, Turns


class Busy:
    """A connection that has so many slices of work, each of which takes the clock on."""

    def __init__(self, name, slices, done, clock):
        self.name, self.slices, self.done, self.clock = name, slices, done, clock
        self.turns = None

    def take_turn(self):
        self.done.append(self.name)
        self.clock[0] += TURN_SECONDS / 2
        self.slices -= 1
        if self.slices:
            self.turns.add(self)


def several(slices):
    done, clock = [], [0.0]
    turns = Turns(asyncio.get_running_loop(), lambda: clock[0])
    for name, count in slices.items():
        busy = Busy(name, count, done, clock)
        busy.turns = turns
        turns.add(busy)
    return turns, done


async def test_they_take_turns_and_the_loop_has_its_own_between():
    _, done = several({"a": 3, "b": 1, "c": 2})
    seen = []
    while len(done) < 6:
        await asyncio.sleep(0)
        seen.append("".join(done))
    assert seen == ["ab", "abca", "abcaca"]


async def test_who_adds_himself_again_waits_for_the_next_turn_of_the_loop():
    _, done = several({"a": 2})
    await asyncio.sleep(0)
    assert done == ["a"]
    await asyncio.sleep(0)
    assert done == ["a", "a"]


async def test_a_defect_of_one_leaves_the_others_their_turn():
    turns, done = several({"b": 1})
    broken = Busy("x", 0, done, None)  # has no clock to take on
    turns._queue.appendleft(broken)
    loop, told = asyncio.get_running_loop(), []
    loop.set_exception_handler(lambda _, context: told.append(context))
    with contextlib.suppress(TypeError):
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert done == ["x", "b"]
    assert told
