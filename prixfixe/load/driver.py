"""Send many messages: in a closed loop as fast as answers come, or in an open one by the clock.

Owns: the workers, and the count of what became of every message.
Promises: `accepted + refused + failed` is the number of messages of the plan; `codes` and `errors`
say how each ended; latency of an open loop counts from when a message was due.
Refuses: presentation (see `report`), and more than the plan's workers at a time.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from prixfixe.load.client import Client, ReplyError
from prixfixe.load.post import PlainPost

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prixfixe.load.plan import Plan
    from prixfixe.load.post import Post

__all__ = ["Outcome", "run"]


@dataclass(slots=True)
class Outcome:
    """What became of the messages; `latencies` in seconds, of the accepted ones."""

    codes: Counter[int] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    octets: int = 0
    seconds: float = 0.0

    @property
    def accepted(self) -> int:
        """Messages answered with 250."""
        return self.codes[250]

    @property
    def refused(self) -> int:
        """Messages answered with another code."""
        return self.codes.total() - self.accepted

    @property
    def failed(self) -> int:
        """Messages that got no answer."""
        return self.errors.total()

    def percentile(self, percent: float) -> float:
        """Return the latency that so many percent of the accepted messages did not pass."""
        ordered = sorted(self.latencies)
        if not ordered:
            return math.nan
        return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


async def run(plan: Plan, post: Post | None = None) -> Outcome:
    """Carry out the plan, with the letters of `post`, and return what became of it."""
    post = post or PlainPost(plan)
    outcome, numbers = Outcome(), iter(range(plan.messages))
    began = time.perf_counter()
    await asyncio.gather(
        *(_Worker(plan, post, outcome, began).work(numbers) for _ in range(plan.workers))
    )
    outcome.seconds = time.perf_counter() - began
    return outcome


class _Worker:
    """One connection at a time; the next message is whoever's is free."""

    def __init__(self, plan: Plan, post: Post, outcome: Outcome, began: float) -> None:
        self._plan = plan
        self._post = post
        self._outcome = outcome
        self._began = began
        self._client: Client | None = None

    async def work(self, numbers: Iterator[int]) -> None:
        for number in numbers:
            due = await self._due(number)
            await self._one(number, due)
        await self._hang_up()

    async def _due(self, number: int) -> float:
        """Wait until message `number` is due; return when that was, not when the wait ended."""
        now = time.perf_counter()
        if self._plan.rate is None:
            return now
        due = self._began + number / self._plan.rate
        await asyncio.sleep(max(0.0, due - now))
        return due

    async def _one(self, number: int, due: float) -> None:
        plan, outcome = self._plan, self._outcome
        letter = self._post.letter(number, plan.sizes[number % len(plan.sizes)])
        try:
            client = await self._connected()
            code = await client.send(letter, is_piped=plan.is_piped)
        except ReplyError as error:
            self._answered(number, error.code)
            self._drop()
        except (OSError, EOFError, TimeoutError, ValueError) as error:
            outcome.errors[type(error).__name__] += 1
            self._drop()
        else:
            self._answered(number, code)
            if code == 250:
                outcome.latencies.append(time.perf_counter() - due)
                outcome.octets += len(letter.data)
            if plan.is_own:
                await self._hang_up()

    def _answered(self, number: int, code: int) -> None:
        self._outcome.codes[code] += 1
        self._post.answered(number, code)

    async def _connected(self) -> Client:
        plan = self._plan
        if self._client is None:
            self._client = Client(plan.host, plan.port, plan.timeout)
            await self._client.open(starttls=plan.starttls, login=plan.login)
        return self._client

    async def _hang_up(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    def _drop(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.abort()
