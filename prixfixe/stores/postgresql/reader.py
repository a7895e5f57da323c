"""Read the store on its primary, from any thread: a standby may lack what was acknowledged.

A body is returned only if its checksum is right. A question that fails for the connection is asked
once more over a new one.
"""

from __future__ import annotations

import asyncio
import json
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from prixfixe.runtime import threads
from prixfixe.stores.base import (
    NOWHERE,
    Changes,
    DamagedError,
    Place,
    Said,
    State,
    StoreError,
    StoreOpenError,
    Totals,
)
from prixfixe.stores.postgresql import schema
from prixfixe.stores.postgresql.cluster import Cluster, NoPrimaryError, Session
from prixfixe.stores.postgresql.errors import FAULTS, is_passing, store_error
from prixfixe.stores.postgresql.link import READING, XMIN, in_time
from prixfixe.stores.postgresql.rows import message_of, place_key

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence

    from prixfixe.mail.message import Message
    from prixfixe.stores.base import Arrival
    from prixfixe.stores.postgresql.address import Address

__all__ = ["PostgresqlReader"]

T = TypeVar("T")

ANSWER_SECONDS = 8.0
_ROW = """
SELECT id, received_at, envelope, crc, CASE WHEN length(body) = size THEN body END
FROM prixfixe_mail WHERE id = $1
"""
_IDS = "SELECT id FROM prixfixe_mail ORDER BY id DESC OFFSET $1"
_TOTALS = "SELECT count(*), coalesce(sum(size), 0)::bigint FROM prixfixe_mail"
_PLACES = "SELECT id FROM prixfixe_mail WHERE id >= $1 ORDER BY id LIMIT $2"
_SAME_KEY = "SELECT id FROM prixfixe_mail WHERE id > $1 AND id < $2 ORDER BY id"
# Equal answers tell equal contents: either all transactions up to the highest have ended, or the
# same ones have not.
_STATE = """
WITH s AS MATERIALIZED (
  SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS xmin,
    coalesce((SELECT max(xid) FROM prixfixe_mail), 0) AS mail,
    coalesce((SELECT max(xid) FROM prixfixe_gone), 0) AS gone,
    coalesce((SELECT max(xid) FROM prixfixe_said), 0) AS said)
SELECT mail, gone, said, CASE WHEN xmin <= greatest(mail, gone, said) THEN xmin END,
  (SELECT count(*) FROM prixfixe_mail WHERE xid >= s.xmin),
  (SELECT count(*) FROM prixfixe_gone WHERE xid >= s.xmin),
  (SELECT count(*) FROM prixfixe_said WHERE xid >= s.xmin)
FROM s
"""
_NEW = "SELECT id FROM prixfixe_mail WHERE xid >= $1 ORDER BY id"
_GONE = "SELECT id FROM prixfixe_gone WHERE xid >= $1"
_SAID = "SELECT id, is_read, tags FROM prixfixe_said WHERE xid >= $1"
_SAY = """
INSERT INTO prixfixe_said(id, is_read, tags)
SELECT m.id, u.is_read, u.tags FROM unnest($1::text[], $2::bool[], $3::text[]) u(id, is_read, tags)
JOIN prixfixe_mail m ON m.id = u.id
ON CONFLICT (id) DO UPDATE SET is_read = coalesce(EXCLUDED.is_read, prixfixe_said.is_read),
  tags = coalesce(EXCLUDED.tags, prixfixe_said.tags), xid = EXCLUDED.xid
"""


class PostgresqlReader:
    """The read side. Opening it raises `StoreOpenError`."""

    is_in_order_of_arrival = False

    def __init__(self, address: Address) -> None:
        self._address = address
        self._cluster = Cluster(address, "prixfixe reader", READING)
        self._session: Session | None = None
        self._lock = threading.Lock()  # the connection is shared by the caller's threads
        self._is_closed = False
        # Of its own: whoever asks may be in a thread whose event loop runs.
        self._loop = asyncio.SelectorEventLoop()
        threads.start("store-reader", self._serve)
        try:
            self._run(self._open())
        except BaseException:
            self.close()
            raise

    async def _open(self) -> None:
        try:
            self._session = await self._cluster.primary()
            found = await schema.version_of(self._session.connection)
        except NoPrimaryError as error:
            raise StoreOpenError(f"store postgresql: {error}") from error
        except FAULTS as error:
            msg = f"store postgresql {self._address}: {type(error).__name__}: {error}"
            raise StoreOpenError(msg) from error
        if found is None:
            msg = f"store postgresql {self._address} has no tables; has a server run with it?"
            raise StoreOpenError(msg)

    def ids(self, start: int = 0, limit: int | None = None) -> Sequence[str]:
        """Return ids, newest first."""
        if limit is None:
            return [row[0] for row in self._fetch(_IDS, start)]
        return [row[0] for row in self._fetch(f"{_IDS} LIMIT $2", start, limit)]

    def get(self, message_id: str) -> Message | None:
        """Return one message or None. Raises `DamagedError`."""
        if not _is_name(message_id):
            return None
        try:
            rows = self._fetch(_ROW, message_id)
        except StoreError as error:
            if error.__cause__ is None or not _is_of_row(error.__cause__):
                raise
            raise DamagedError(f"message {message_id}: {error}") from error
        return message_of(rows[0]) if rows else None

    def totals(self) -> Totals:
        """Count."""
        return Totals(*self._fetch(_TOTALS)[0])

    def state(self) -> State:
        """Return what is there now."""
        return State(0, NOWHERE, tuple(self._fetch(_STATE)[0]))

    def places(self, after: int, limit: int) -> Sequence[Place]:
        """Return the places above a key, lowest first, and all of the last key."""
        ids = [row[0] for row in self._fetch(_PLACES, _bound(after + 1), limit)]
        if len(ids) == limit:
            above = _bound(place_key(ids[-1]) + 1)
            ids += [row[0] for row in self._fetch(_SAME_KEY, ids[-1], above)]
        return [Place(place_key(each), each) for each in ids]

    def expect(self, arrival: Arrival) -> Place:
        """Return where a message stands."""
        return Place(place_key(arrival.id), arrival.id)

    def changes(self, since: object) -> Changes:
        """Return what changed since an earlier answer; all that people say, for None."""
        below = self._fetch(XMIN)[0][0]
        said = [
            Said(row[0], row[1], None if row[2] is None else tuple(json.loads(row[2])))
            for row in self._fetch(_SAID, since or 0)
        ]
        if since is None:
            return Changes(below, None, (), said)
        places = [Place(place_key(row[0]), row[0]) for row in self._fetch(_NEW, since)]
        return Changes(below, places, [row[0] for row in self._fetch(_GONE, since)], said)

    def say(self, said: Sequence[Said]) -> None:
        """Note what people say of messages, for all servers."""
        tags = [None if one.tags is None else json.dumps(one.tags) for one in said]
        self._fetch(_SAY, [one.id for one in said], [one.is_read for one in said], tags)

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                self._run(self._end())
                self._loop.call_soon_threadsafe(self._loop.stop)

    # --- the thread

    def _serve(self) -> None:
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _end(self) -> None:
        self._drop()
        await asyncio.sleep(0)  # for the transport to close its socket

    # --- questions

    def _fetch(self, sql: str, *values: object) -> list[Any]:
        return self._asked(lambda connection: connection.fetch(sql, *values))

    def _asked(self, question: Callable[[Any], Awaitable[T]]) -> T:
        with self._lock:
            if self._is_closed:
                raise StoreError("the reader is closed", kind="closed")
            try:
                return self._run(self._tried_twice(question))
            except Exception as error:
                raise store_error(error) from error

    async def _tried_twice(self, question: Callable[[Any], Awaitable[T]]) -> T:
        try:
            return await self._answer(question)
        except FAULTS as error:
            if not is_passing(error):
                raise
            self._drop()
        try:
            return await self._answer(question)
        except BaseException:
            self._drop()
            raise

    async def _answer(self, question: Callable[[Any], Awaitable[T]]) -> T:
        """Ask; a connection without an answer in time is dropped. Raises `OSError` and others."""
        connection = (await self._connected()).connection
        return await in_time(connection, question(connection), ANSWER_SECONDS)

    async def _connected(self) -> Session:
        if self._session is None or self._session.connection.is_closed():
            try:
                self._session = await self._cluster.primary()
            except NoPrimaryError as error:
                raise OSError(str(error)) from error
        return self._session

    def _drop(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.connection.terminate()


def _is_name(message_id: str) -> bool:
    """Whether it may be an id: others the database takes for no text."""
    return message_id.isascii() and "\0" not in message_id


def _is_of_row(error: BaseException) -> bool:
    """Whether the database says that a row is damaged (XX001, XX002)."""
    return (getattr(error, "sqlstate", None) or "").startswith("XX00")


def _bound(key: int) -> str:
    return f"{max(0, key):015x}"
