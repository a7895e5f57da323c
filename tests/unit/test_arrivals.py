import asyncio

import pytest

from prixfixe.mail.message import Envelope, Message
from prixfixe.stores.arrivals import Arrivals, ArrivalsClosedError, TooManyWaitersError


def message(name):
    return Message(name, 1.0, Envelope("", ()), b"")


async def test_every_waiter_sees_every_message_in_order():
    board = Arrivals()
    with board.subscribe() as one, board.subscribe() as two:
        assert board.waiters == 2
        board.publish(message("a"))
        board.publish(message("b"))
        assert await one.arrived() == ["a", "b"]
        assert await two.arrived() == ["a", "b"]
        board.publish(message("c"))
        assert await one.arrived() == ["c"]


async def test_a_waiter_is_woken():
    board = Arrivals()
    with board.subscribe() as waiter:
        waiting = asyncio.create_task(waiter.arrived())
        await asyncio.sleep(0)
        board.publish(message("a"))
        assert await waiting == ["a"]


async def test_a_waiter_that_left_is_forgotten():
    board = Arrivals()
    with board.subscribe():
        pass
    board.publish(message("a"))
    assert board.waiters == 0


async def test_waiters_are_bounded():
    board = Arrivals(max_waiters=1)
    with board.subscribe(), pytest.raises(TooManyWaitersError), board.subscribe():
        pass


async def test_a_backlog_is_bounded_and_says_so():
    board = Arrivals(backlog=1)
    with board.subscribe() as waiter:
        board.publish(message("a"))
        assert not waiter.take_missed()
        board.publish(message("b"))
        assert await waiter.arrived() == ["b"]
        assert waiter.take_missed()
        assert not waiter.take_missed()


async def test_closing_sends_everyone_away():
    board = Arrivals()
    with board.subscribe() as early:
        waiting = asyncio.create_task(early.arrived())
        await asyncio.sleep(0)
        board.close()
        with pytest.raises(ArrivalsClosedError):
            await waiting
    with pytest.raises(ArrivalsClosedError), board.subscribe():
        pass
