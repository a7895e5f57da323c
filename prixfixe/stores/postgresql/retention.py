"""Retention: the oldest go, in steps, by one server at a time.

How many messages there are is estimated from a count and what this server kept since; so a store
without retention is never counted, and one with it rarely.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prixfixe.stores.base import StoreOptions

__all__ = ["Retention"]

STEP = 1000
COUNT_SECONDS = 10.0  # after which the count is taken again: other servers keep mail too
GONE_SECONDS = 3600.0  # how long it is known what was deleted
_SLACK = 1000  # a store may exceed its limit by one in so many
_NEVER = float("inf")
# One server at a time, for the length of the statement; what comes back after a failover is
# deleted again, so no standby is waited for.
_STEP = """
SET LOCAL synchronous_commit = local;
WITH d AS (
  DELETE FROM prixfixe_mail WHERE pg_try_advisory_xact_lock({lock}) AND id IN ({oldest})
  RETURNING id)
INSERT INTO prixfixe_gone(id) SELECT id FROM d
"""
_EXCESS = """
SELECT id FROM prixfixe_mail ORDER BY id
LIMIT least({step}, greatest(0, (SELECT count(*) FROM prixfixe_mail) - {keep}))
"""
_OLD = "SELECT id FROM prixfixe_mail WHERE id < '{below}' ORDER BY id LIMIT {step}"
_ASK = "SELECT count(*), (SELECT min(id) FROM prixfixe_mail) FROM prixfixe_mail"
_OLDEST = "SELECT min(id) FROM prixfixe_mail"
_FORGET = "DELETE FROM prixfixe_gone WHERE at < now() - interval '1 second' * {seconds}"
_LOCK = 0x70667872


class Retention:
    """What is known of the oldest message and of how many there are."""

    def __init__(self, options: StoreOptions) -> None:
        self._most = options.max_messages
        self._age = options.max_age
        self._clock = options.clock
        self._on_pruned = options.on_pruned
        self._count = 0
        self._oldest = ""
        self._counted_at = 0.0
        self._forgot_at = time.monotonic()

    async def ask(self, connection: Any) -> tuple[int, str]:  # noqa: ANN401 - the driver's
        """Return how many there are, and the oldest id."""
        if not self._most:
            return 0, await connection.fetchval(_OLDEST) or ""
        count, oldest = await connection.fetchrow(_ASK)
        return count, oldest or ""

    def begin(self, count: int, oldest: str) -> None:
        """Note what `ask` returned."""
        self._count, self._oldest = count, oldest
        self._counted_at = time.monotonic()

    def kept(self, messages: int) -> None:
        """Note new messages."""
        self._count += messages

    def forget(self) -> None:
        """Note that what is known may be wrong."""
        self._counted_at = -_NEVER

    def is_due(self) -> bool:
        """Whether something may have to go, or to be counted again."""
        now = time.monotonic()
        is_old = (self._most or self._age) and now - self._counted_at > COUNT_SECONDS
        is_full = self._most and self._count > self._most + self._most // _SLACK
        return bool(is_old or is_full or self._is_aged() or now - self._forgot_at > GONE_SECONDS)

    def _is_aged(self) -> bool:
        return bool(self._age) and self._oldest < self._below()

    def _below(self) -> str:
        """Return what the id of a message that is too old is below: ids begin with their time."""
        return f"{max(0, int((self._clock() - self._age) * 1000)):011x}"

    async def step(self, connection: Any) -> bool:  # noqa: ANN401 - the driver's
        """Delete some of what has to go; tell whether more has to."""
        if time.monotonic() - self._forgot_at > GONE_SECONDS:
            self._forgot_at = time.monotonic()
            await connection.execute(_FORGET.format(seconds=GONE_SECONDS))
        deleted = 0
        if self._most:
            deleted += await self._delete(connection, _EXCESS.format(step=STEP, keep=self._most))
        if self._age:
            deleted += await self._delete(connection, _OLD.format(below=self._below(), step=STEP))
        if self._most or self._age:
            self.begin(*await self.ask(connection))
        if deleted:
            self._on_pruned(deleted)
        return deleted >= STEP

    async def _delete(self, connection: Any, oldest: str) -> int:  # noqa: ANN401
        sql = _STEP.format(lock=_LOCK, oldest=oldest)
        status = await connection.execute(sql)  # "INSERT 0 5"
        return int(status.rpartition(" ")[2])
