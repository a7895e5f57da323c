"""Replies of one turn: they leave together, in order, and a closed connection hurts no other."""

import asyncio

from prixfixe.connection.reply_batch import MAX_SENDERS, ReplyBatch


class Noting:
    """A sender that notes when it is told to send."""

    def __init__(self, name, sent):
        self.name = name
        self.sent = sent

    def flush(self):
        self.sent.append(self.name)


async def test_replies_of_one_turn_leave_at_its_end_in_order():
    sent, batch = [], ReplyBatch(asyncio.get_running_loop())
    for name in "abc":
        batch.add(Noting(name, sent))
    assert sent == []
    await asyncio.sleep(0)
    assert sent == ["a", "b", "c"]
    batch.add(Noting("d", sent))
    await asyncio.sleep(0)
    assert sent == ["a", "b", "c", "d"]


async def test_nobody_waits_for_a_turn_of_very_many():
    sent, batch = [], ReplyBatch(asyncio.get_running_loop())
    for number in range(MAX_SENDERS + 1):
        batch.add(Noting(number, sent))
    assert sent == list(range(MAX_SENDERS))
    await asyncio.sleep(0)
    assert sent == list(range(MAX_SENDERS + 1))


async def test_a_session_cut_off_in_the_same_turn_hurts_no_other(start):
    running = await start()
    wires = [await running.say_hello() for _ in range(2)]
    cut, other = sorted(
        running.server.roster.connections, key=lambda one: one.session.state.session_id
    )
    for session in (cut, other):
        session.data_received(b"NOOP\r\n")
    cut.cut()
    assert await wires[1].reply() == b"250 2.0.0 OK\r\n"
    assert await wires[0].rest() == b""


async def test_a_session_that_is_ended_sends_what_is_due(start):
    running = await start()
    wire = await running.say_hello()
    (session,) = running.server.roster.connections
    session.data_received(b"NOOP\r\n")
    session.abort()
    assert await wire.rest() == b"250 2.0.0 OK\r\n"
