"""The link to the other servers of a store: tell them that mail came, and hear it from them.

A notification is its own transaction over a connection of its own, at most some a second: in the
transaction of the mail it would make all commits of all servers wait for each other. It says only
that something changed. What changed is looked up, now and then without any notification too, so
that a lost one delays mail and loses none.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, TypeVar

from prixfixe.stores.postgresql.cluster import Cluster

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from prixfixe.stores.postgresql.address import Address

__all__ = ["READING", "XMIN", "Link", "in_time"]

T = TypeVar("T")

CHANNEL = "prixfixe"
HOLD_SECONDS = 0.05  # between two notifications
LOOK_SECONDS = 1.0  # between two looks that nobody asked for
ANSWER_SECONDS = 1.0
RETRY_SECONDS = 0.25
CLOSE_SECONDS = 1.0
# Rows are few among many, which an estimate of `>=` does not tell.
READING = {"enable_seqscan": "off", "synchronous_commit": "local"}
XMIN = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
_NEW = "SELECT id FROM prixfixe_mail WHERE xid >= $1 AND server <> $2 ORDER BY id"
_CHANGED = """
SELECT (SELECT max(xid) FROM prixfixe_gone), (SELECT max(xid) FROM prixfixe_said),
(SELECT count(*) FROM prixfixe_gone WHERE xid >= $1),
(SELECT count(*) FROM prixfixe_said WHERE xid >= $1)
"""


class Link:
    """One connection that listens, notifies and looks; all in the event loop."""

    def __init__(
        self, address: Address, name: str, on_elsewhere: Callable[[Sequence[str]], None]
    ) -> None:
        self._name = name
        self._cluster = Cluster(address, f"{name} link", READING)
        self._on_elsewhere = on_elsewhere
        self._wakeup = asyncio.Event()
        self._has_news = False
        self._since: int | None = None  # below this transaction all is known
        self._seen: set[str] = set()  # of those from it on
        self._changed: object = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, in the running event loop."""
        self._task = asyncio.create_task(self._run())

    def tell(self) -> None:
        """Have the other servers look, soon."""
        self._has_news = True
        self._wakeup.set()

    async def close(self) -> None:
        """End."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=CLOSE_SECONDS)

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(Exception):  # of the driver; the link never ends
                session = await self._cluster.primary()
                try:
                    await self._serve(session.connection)
                finally:
                    session.connection.terminate()
            await asyncio.sleep(RETRY_SECONDS)

    async def _serve(self, connection: Any) -> None:  # noqa: ANN401 - the driver's
        """Tell and hear until the connection fails."""
        connection.add_termination_listener(lambda _connection: self._wakeup.set())
        await in_time(connection, connection.add_listener(CHANNEL, self._heard))
        while not connection.is_closed():
            self._wakeup.clear()
            has_news, self._has_news = self._has_news, False
            if has_news:
                await in_time(connection, connection.execute(f"NOTIFY {CHANNEL}"))
            await in_time(connection, self._look(connection))
            if has_news:
                await asyncio.sleep(HOLD_SECONDS)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wakeup.wait(), LOOK_SECONDS)

    def _heard(self, connection: Any, pid: int, _channel: str, _payload: str) -> None:  # noqa: ANN401
        if pid != connection.get_server_pid():
            self._wakeup.set()

    async def _look(self, connection: Any) -> None:  # noqa: ANN401 - the driver's
        """Find what other servers did since the last look."""
        below = await connection.fetchval(XMIN)
        since, self._since = self._since, below
        if since is None:  # what was there before is no news
            self._seen = set(await self._new(connection, below))
            return
        ids = await self._new(connection, since)
        fresh = [one for one in ids if one not in self._seen]
        self._seen = set(ids)
        changed = tuple(await connection.fetchrow(_CHANGED, below))
        is_changed, self._changed = changed != self._changed, changed
        if fresh or is_changed:
            self._on_elsewhere(fresh)

    async def _new(self, connection: Any, since: int) -> list[str]:  # noqa: ANN401
        return [row[0] for row in await connection.fetch(_NEW, since, self._name)]


async def in_time(connection: Any, work: Awaitable[T], seconds: float = ANSWER_SECONDS) -> T:  # noqa: ANN401
    """Return an answer; a connection without one is dropped. Raises `OSError` and the driver's."""
    sent = asyncio.ensure_future(work)
    try:
        await asyncio.wait({sent}, timeout=seconds)
    finally:
        is_late = not sent.done()
        if is_late:
            connection.terminate()
            await asyncio.wait({sent}, timeout=ANSWER_SECONDS)
        if sent.done() and not sent.cancelled():
            sent.exception()  # nobody may be there to take it
    if is_late:
        raise TimeoutError("the database does not answer")
    return sent.result()
