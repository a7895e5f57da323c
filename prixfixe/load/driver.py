"""Send the messages of a plan, in a closed loop (as fast as replies come) or an open one (by time).

Every started message ends in exactly one count: accepted, refused or failed. The latency of an open
loop counts from when a message was due, so a server that stalls cannot hide the delay.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from prixfixe.load.client import Client, ReplyError
from prixfixe.load.outcome import Outcome
from prixfixe.load.post import END, PlainPost
from prixfixe.runtime.extras import need

if TYPE_CHECKING:
    from collections.abc import Callable

    from prixfixe.load.client import Sender
    from prixfixe.load.plan import Plan
    from prixfixe.load.post import Letter, Post

__all__ = ["Course", "run"]


async def run(plan: Plan, post: Post | None = None, *, outcome: Outcome | None = None) -> Outcome:
    """Carry out the plan with the messages of `post`, and return the outcome.

    If the call is cancelled, a given `outcome` has the counts so far, and current messages are its
    errors "Interrupted".

    Raises:
        MissingExtraError: the plan's client is not installed.

    """
    outcome = Outcome() if outcome is None else outcome
    connection = _connection_of(plan)
    course = Course(plan, PlainPost(plan) if post is None else post, outcome)
    workers = [_Worker(course, lambda: connection(plan)) for _ in range(plan.workers)]
    try:
        await asyncio.gather(*(worker.work() for worker in workers))
    finally:
        course.end()
    return outcome


def _connection_of(plan: Plan) -> Callable[[Plan], Sender]:
    if plan.client != "aiosmtplib":
        return Client
    need("the client aiosmtplib", "aiosmtplib")
    from prixfixe.load.with_aiosmtplib import AiosmtplibClient  # of an extra

    return AiosmtplibClient


class Course:
    """What the workers share: the next message, its time, and the counts."""

    def __init__(self, plan: Plan, post: Post, outcome: Outcome) -> None:
        self.plan = plan
        self.numbers = iter(range(plan.messages))
        self._post = post
        self._outcome = outcome
        self._began = time.perf_counter()
        outcome.began = time.time()

    async def due(self, number: int) -> float:
        """Wait until message `number` is due; return the due time, not the end of the wait."""
        now = time.perf_counter()
        if self.plan.rate is None:
            return now
        due = self._began + (number + self.plan.phase) / self.plan.rate
        await asyncio.sleep(max(0.0, due - now))
        return due

    def letter(self, number: int) -> Letter:
        """Return message `number`."""
        return self._post.letter(number, self.plan.sizes[number % len(self.plan.sizes)])

    def answered(self, number: int, code: int, letter: Letter, due: float) -> None:
        """Count a message by its reply code."""
        now = time.perf_counter()
        at = now - self._began
        if code == 250:
            self._outcome.accept(len(letter.data) - len(END), now - due, at)
        else:
            self._outcome.refuse(code, int(at))
        self._post.answered(number, code)

    def failed(self, why: str) -> None:
        """Count a message without a reply."""
        self._outcome.fail(why, int(time.perf_counter() - self._began))

    def end(self) -> None:
        """Stop the clock."""
        self._outcome.seconds = time.perf_counter() - self._began


class _Worker:
    """A worker with one connection at a time; it sends the next message when it is free."""

    def __init__(self, course: Course, connection: Callable[[], Sender]) -> None:
        self._course = course
        self._connection = connection
        self._client: Sender | None = None

    async def work(self) -> None:
        """Send until no message is left."""
        try:
            for number in self._course.numbers:
                await self._one(number, await self._course.due(number))
            await self._hang_up()
        finally:
            self._drop()

    async def _one(self, number: int, due: float) -> None:
        course, letter = self._course, self._course.letter(number)
        try:
            code = await (await self._connected()).send(letter)
        except ReplyError as error:
            if error.code == 250:  # It answers another command: no message was accepted.
                course.failed("UnexpectedReply")
            else:
                course.answered(number, error.code, letter, due)
            self._drop()
        except (OSError, EOFError, TimeoutError, ValueError) as error:
            course.failed(type(error).__name__)
            self._drop()
        except asyncio.CancelledError:
            course.failed("Interrupted")
            raise
        else:
            course.answered(number, code, letter, due)
            if course.plan.is_own:
                await self._hang_up()

    async def _connected(self) -> Sender:
        if self._client is None:
            self._client = self._connection()
            await self._client.open()
        return self._client

    async def _hang_up(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    def _drop(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.abort()
