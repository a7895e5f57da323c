"""Open many SMTP sessions at the same time, and send mail in each of them.

No session sends before all are greeted or turned away. Those turned away are counted by reply code.
"""

import asyncio
from collections import Counter

from prixfixe.load import Outcome
from prixfixe.load.client import Client, ReplyError
from prixfixe.load.driver import Course

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
        outcome = Outcome()
        course = Course(self._plan, post, outcome)
        await asyncio.gather(*(self._send(client, course) for client in self.inside))
        course.end()
        return outcome

    async def _send(self, client, course):
        for number in course.numbers:
            letter, due = course.letter(number), await course.due(number)
            course.answered(number, await client.send(letter), letter, due)

    async def __aexit__(self, *_exc):
        await asyncio.gather(*(client.close() for client in self.inside))
        self._abort()

    def _abort(self):
        """Leave no socket open: uvloop waits for it when it ends."""
        for client in self._clients:
            client.abort()
