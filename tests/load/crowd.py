"""Many sessions that are open at the same time.

Owns: opening them together, mail in each of them, and closing them.
Promises: nobody sends before all are in or turned away; those turned away are counted by code.
Refuses: judging. A plan's workers come and go as they find work, so no plan is surely a crowd.
"""

import asyncio
import time
from collections import Counter

from prixfixe.load import Outcome
from prixfixe.load.client import Client, ReplyError

__all__ = ["Crowd"]


class Crowd:
    """A client for each of the plan's workers; `turned_away` has the codes of those not let in."""

    def __init__(self, plan):
        self._plan = plan
        self._clients = [Client(plan) for _ in range(plan.workers)]
        self.inside = []
        self.turned_away = Counter()

    async def __aenter__(self):
        try:
            await asyncio.gather(*map(self._enter, self._clients))
        except BaseException:
            self._abort()
            raise
        return self

    async def _enter(self, client):
        try:
            await client.open()
        except ReplyError as error:
            self.turned_away[error.code] += 1
        else:
            self.inside.append(client)

    async def send(self, post):
        """Let all who are inside send the plan's messages; return what became of them."""
        outcome, numbers = Outcome(), iter(range(self._plan.messages))
        began = time.perf_counter()
        await asyncio.gather(
            *(self._send(client, post, outcome, numbers) for client in self.inside)
        )
        outcome.seconds = time.perf_counter() - began
        return outcome

    async def _send(self, client, post, outcome, numbers):
        for number in numbers:
            letter, began = post.letter(number, self._plan.sizes[0]), time.perf_counter()
            code = await client.send(letter)
            post.answered(number, code)
            if code == 250:
                outcome.accept(len(letter.data), time.perf_counter() - began, 0)
            else:
                outcome.refuse(code, 0)

    async def __aexit__(self, *_exc):
        await asyncio.gather(*(client.close() for client in self.inside))
        self._abort()

    def _abort(self):
        """Leave no socket open: uvloop waits for it when it ends."""
        for client in self._clients:
            client.abort()
