"""The replicated store: a 250 means flushed on the primary and on k synchronous standbys.

A group is one statement with a guard in it: nothing is written where commits do not wait for
standbys. Names of standbys that are taken away while a commit waits let it succeed without any
warning, so the configuration is compared after the commit too.

Anything but a proven success has the same ids written again over a new connection, until the
deadline. Finding a row there is no proof: the row is updated, and that commit waits by itself.
No statement is ever cancelled, because the database reports a cancelled wait as success: a
connection is dropped instead.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from prixfixe.stores.base import Probe, Recovery, StoreError, StoreOpenError
from prixfixe.stores.group_commit import GroupLimits, GroupStore
from prixfixe.stores.postgresql import schema
from prixfixe.stores.postgresql.cluster import EPOCH, Cluster, NoPrimaryError, Session
from prixfixe.stores.postgresql.errors import FAULTS, is_passing, store_error
from prixfixe.stores.postgresql.lately import Lately
from prixfixe.stores.postgresql.link import Link
from prixfixe.stores.postgresql.reader import PostgresqlReader
from prixfixe.stores.postgresql.retention import Retention
from prixfixe.stores.postgresql.rows import columns

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from prixfixe.mail.message import Message
    from prixfixe.stores.base import StoreOptions
    from prixfixe.stores.postgresql.address import Address
    from prixfixe.stores.postgresql.rows import Columns

__all__ = ["PostgresqlStore"]

T = TypeVar("T")

GROUP = GroupLimits(messages=64, bytes=4 << 20)
COMMIT_SECONDS = 25.0  # below the 30 s in which a client is told 451
LOOK_SECONDS = 0.5  # a wait this long has the other hosts asked
_LOOKS = (0.25, 1.0)  # seconds of a look: a tenth of the wait so far, within these
OPEN_SECONDS = 8.0  # for a database that starts beside the server
PROBE_SECONDS = 3.5
_PAUSE_SECONDS = 0.1
_FAIR_SECONDS = 1.0  # an attempt with less time left does not replace the reason of one before it
_GUARD = """
g AS MATERIALIZED (
  SELECT 1 WHERE current_setting('fsync') = 'on' AND CASE WHEN $7::int = 0
    THEN current_setting('synchronous_commit') <> 'off'
    ELSE current_setting('synchronous_standby_names') <> ''
      AND current_setting('synchronous_commit') IN ('on', 'remote_apply')
      AND (SELECT count(*) FROM pg_stat_replication
           WHERE sync_state IN ('quorum', 'sync')) >= $7::int
  END)
"""
_ROWS = "unnest($1::text[], $2::float8[], $3::int[], $4::int8[], $5::text[], $6::bytea[])"
_COLUMNS = "id, received_at, size, crc, envelope, body"
_INSERT = f"""
INSERT INTO prixfixe_mail(server, {_COLUMNS}) SELECT $8::text, u.* FROM {_ROWS} u, g
"""  # noqa: S608 - our names
# The first time an id that is there is somebody else's. Whoever writes it again may find its own
# row: an update makes log, so that its commit waits for standbys; DO NOTHING would not.
FIRST = f"WITH {_GUARD}, m AS ({_INSERT} RETURNING crc) SELECT (SELECT count(*) FROM g), count(*) FROM m"  # noqa: E501, S608
AGAIN = f"""
WITH {_GUARD}, m AS (
  {_INSERT}
  ON CONFLICT (id) DO UPDATE SET attempt = prixfixe_mail.attempt + 1
  RETURNING id, crc)
SELECT (SELECT count(*) FROM g), count(*) FROM m JOIN
  unnest($1::text[], $4::int8[]) w(id, crc) ON w.id = m.id AND w.crc = m.crc
"""  # noqa: S608
_END_OLD = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE pid = ANY($1::int[]) AND application_name = current_setting('application_name')
  AND pid <> pg_backend_pid()
"""
_DELETE = """
WITH d AS (DELETE FROM prixfixe_mail {where} RETURNING id),
g AS (INSERT INTO prixfixe_gone(id) SELECT id FROM d)
SELECT count(*) FROM d
"""


class PostgresqlStore(GroupStore):
    """The store; its link to the other servers lives in the event loop."""

    def __init__(self, address: Address, options: StoreOptions) -> None:
        self._name = f"prixfixe {os.urandom(6).hex()}"
        self._address = address
        self._link = Link(address, self._name, options.on_elsewhere)
        self._database = _Database(address, self._name, options, self._kept)
        self._is_told = False
        super().__init__(self._database, GROUP, options)

    async def open(self) -> Recovery:
        """Open, then listen to the other servers."""
        recovery = await super().open()
        self._link.start()
        return recovery

    def put(self, message: Message) -> asyncio.Future[None]:
        """Queue one message; its deadline counts from now."""
        self._database.due[message.id] = time.monotonic() + COMMIT_SECONDS
        return super().put(message)

    async def close(self) -> None:
        """Commit what was put, then release."""
        await super().close()
        await self._link.close()

    def open_reader(self) -> PostgresqlReader:
        """Open connections that read."""
        return PostgresqlReader(self._address)

    def _kept(self) -> None:
        """Have the other servers told, from the writer thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._link.tell)  # type: ignore[union-attr]


class _Again(Exception):  # noqa: N818 - it is no error of the program
    """An attempt that proved nothing. `was_sent`: what it wrote may be there all the same."""

    def __init__(self, error: StoreError, *, was_sent: bool) -> None:
        super().__init__(str(error))
        self.error = error
        self.was_sent = was_sent


class _Database:
    """The writing connection, and an event loop of its own, in the writer thread."""

    def __init__(
        self, address: Address, name: str, options: StoreOptions, on_kept: Callable[[], None]
    ) -> None:
        self.due: dict[str, float] = {}  # until when a message may be tried
        self._address = address
        self._name = name
        self._options = options
        self._on_kept = on_kept
        self._cluster = Cluster(address, name)
        self._retention = Retention(options)
        self._session: Session | None = None
        self._lately = Lately()
        self._abandoned: list[int] = []  # backends that may wait for ever
        self._is_doubted = False  # a warning came
        self._loop: asyncio.AbstractEventLoop | None = None

    # --- the writer thread's calls

    def open(self) -> Recovery:
        self._loop = asyncio.SelectorEventLoop()
        self._run(self._open())
        return Recovery()

    def commit(self, messages: Sequence[Message]) -> None:
        latest = time.monotonic() + COMMIT_SECONDS
        until = min(self.due.get(one.id, latest) for one in messages)
        try:
            self._run(self._keep(columns(messages), until))
        except Exception as error:
            kind = getattr(error, "kind", "internal")
            if len(messages) == 1 or kind not in ("conflict", "internal"):
                self._forget(messages)  # else they are tried one by one, and none gets more time
            raise
        self._forget(messages)
        self._on_kept()
        self._retention.kept(len(messages))
        with contextlib.suppress(StoreError):  # they are kept; it is tried again later
            self._prune()

    def _forget(self, messages: Sequence[Message]) -> None:
        for message in messages:
            self.due.pop(message.id, None)

    def delete(self, ids: Sequence[str] | None) -> int:
        until = time.monotonic() + COMMIT_SECONDS
        count = self._run(self._repeated(lambda: self._delete(ids, until), until))
        self._on_kept()
        self._retention.forget()
        return count

    def probe(self) -> Probe:
        until = time.monotonic() + PROBE_SECONDS
        self._run(self._probe(until))
        return Probe()

    def settle(self) -> bool:
        return self._prune()

    def close(self) -> None:
        session, self._session = self._session, None
        loop, self._loop = self._loop, None
        if loop is None:
            return
        if session is not None:
            session.connection.terminate()
            loop.run_until_complete(asyncio.sleep(0))
        loop.close()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        if self._loop is None:
            work.close()
            raise StoreError("the database is not open")
        return self._loop.run_until_complete(work)

    # --- opening

    async def _open(self) -> None:
        until = time.monotonic() + OPEN_SECONDS
        while True:
            try:
                session = await self._cluster.primary()
                break
            except NoPrimaryError as error:
                if error.is_for_good or time.monotonic() > until:
                    raise StoreOpenError(f"store postgresql: {error}") from error
            await asyncio.sleep(_PAUSE_SECONDS)
        try:
            await self._use(session, until)
            await schema.check(session)
            await self._require_quorum(until)
            self._retention.begin(*await self._retention.ask(self._current().connection))
        except _Again as trouble:
            msg = f"store postgresql {self._address}: {trouble}"
            raise StoreOpenError(msg) from trouble
        except FAULTS as error:
            msg = f"store postgresql {self._address}: {type(error).__name__}: {error}"
            raise StoreOpenError(msg) from error

    async def _require_quorum(self, until: float) -> None:
        """Wait a while for standbys: they may start beside the server."""
        while fault := self._current().facts.fault(self._options.quorum):
            if time.monotonic() > until or not fault.endswith("needed"):
                raise StoreOpenError(f"store postgresql {self._address}: {fault}")
            await asyncio.sleep(_PAUSE_SECONDS)
            self._drop()
            with contextlib.suppress(NoPrimaryError, _Again):
                await self._use(await self._cluster.primary(), until)

    def _current(self) -> Session:
        if self._session is None:
            raise StoreOpenError(f"store postgresql {self._address}: the connection was lost")
        return self._session

    # --- keeping

    async def _keep(self, rows: Columns, until: float) -> None:
        if time.monotonic() >= until:
            raise StoreError("the messages before it took all the time", kind="timeout")
        is_again = False

        async def attempt() -> None:
            nonlocal is_again
            try:
                await self._attempt(rows, until, is_again=is_again)
            except _Again as trouble:
                is_again = is_again or trouble.was_sent
                raise

        await self._repeated(attempt, until)

    async def _attempt(self, rows: Columns, until: float, *, is_again: bool) -> None:
        """Write all rows and return when that is proven. Raises `_Again`, `StoreError`."""
        session = await self._ready(until)
        quorum = self._options.quorum
        fault = session.facts.fault(quorum)
        if fault:
            raise _Again(StoreError(fault, kind="quorum"), was_sent=False)
        self._is_doubted = False
        statement = AGAIN if is_again else FIRST
        sent = session.connection.fetchrow(statement, *rows, quorum, self._name)
        guards, count = await self._watched(sent, session, until)
        if not guards:
            text = "the database has no quorum: too few synchronous standbys are connected"
            raise _Again(StoreError(text, kind="quorum"), was_sent=False)
        if count != len(rows.ids):
            raise StoreError("an id is taken by another message", kind="io")
        await self._require_same_epoch(session, until)
        if self._is_doubted:
            text = "the database warned that the commit may not be replicated"
            raise _Again(StoreError(text), was_sent=True)
        self._lately.note(rows.ids, session.facts.timeline)

    async def _require_same_epoch(self, session: Session, until: float) -> None:
        """See that the commit waited by the names that were checked. Raises `_Again`."""
        if self._options.quorum == 0:
            return
        epoch = await self._watched(session.connection.fetchval(EPOCH), session, until)
        if epoch != session.facts.epoch:
            text = "the configuration of the database changed during the commit"
            raise _Again(StoreError(text), was_sent=True)

    async def _watched(self, work: Coroutine[Any, Any, T], session: Session, until: float) -> T:
        """Wait for a statement without ever cancelling it. Raises `_Again`, `StoreError`."""
        sent = asyncio.ensure_future(work)
        began = time.monotonic()
        await asyncio.wait({sent}, timeout=min(LOOK_SECONDS, _left(until)))
        while not sent.done():
            if time.monotonic() >= until:
                await self._abandon(sent, session)
                text = "no standby has confirmed the commit in time"
                raise _Again(StoreError(text, kind="timeout"), was_sent=True)
            seconds = min(max(_LOOKS[0], (time.monotonic() - began) / 10), _LOOKS[1], _left(until))
            if await self._is_superseded(sent, seconds):
                await self._abandon(sent, session)
                raise _Again(StoreError("another host became the primary"), was_sent=True)
        try:
            return sent.result()
        except FAULTS as error:
            self._judge(error)
        except Exception:
            self._drop()  # whatever it is, nothing else is asked over this connection
            raise

    def _judge(self, error: BaseException) -> NoReturn:
        if not is_passing(error):
            self._drop_unused()
            raise store_error(error) from error
        raise _Again(store_error(error), was_sent=True) from error

    async def _is_superseded(self, sent: asyncio.Future[Any], seconds: float) -> bool:
        """Ask all hosts for so long, while the statement goes on."""
        until = time.monotonic() + seconds
        if await self._cluster.has_newer(seconds, sent):
            return True
        await asyncio.wait({sent}, timeout=_left(until))
        return False

    async def _abandon(self, sent: asyncio.Future[Any], session: Session) -> None:
        """Drop the connection under a statement: what it wrote may become visible later."""
        session.connection.terminate()
        await asyncio.wait({sent}, timeout=LOOK_SECONDS)
        if sent.done() and not sent.cancelled():
            sent.exception()  # Nobody else asks.

    # --- the connection

    async def _ready(self, until: float) -> Session:
        """Return the connection, a new one if need be. Raises `_Again`."""
        session = self._session
        if session is not None and not session.connection.is_closed():
            return session
        try:
            session = await self._cluster.primary(max(0.1, min(3.0, _left(until))))
        except NoPrimaryError as error:
            raise _Again(StoreError(str(error)), was_sent=False) from error
        await self._use(session, until)
        return session

    async def _use(self, session: Session, until: float) -> None:
        """Take a new connection; end what older ones left. Raises `_Again`, `StoreError`."""
        self._session = session
        session.connection.add_log_listener(self._warned)
        await self._watched(self._settled(session), session, until)

    async def _settled(self, session: Session) -> None:
        if self._abandoned:
            await session.connection.execute(_END_OLD, self._abandoned)
            self._abandoned.clear()
        lost = await self._lately.lost(session.connection, session.facts.timeline)
        if lost:
            self._options.on_lost(lost)

    def _warned(self, _connection: Any, message: Any) -> None:  # noqa: ANN401 - the driver's
        if message.sqlstate in ("01000", "57P01") or message.severity_en == "WARNING":
            self._is_doubted = True

    def _drop(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            self._abandoned.append(session.pid)
            session.connection.terminate()

    # --- the other calls

    async def _repeated(self, work: Callable[[], Coroutine[Any, Any, T]], until: float) -> T:
        """Try over new connections until the deadline. Raises `StoreError`."""
        reason: StoreError | None = None
        while True:
            has_time = _left(until) >= _FAIR_SECONDS
            try:
                return await work()
            except _Again as trouble:
                self._drop()
                if has_time or reason is None:  # a host not reached in no time explains nothing
                    reason = trouble.error
                if time.monotonic() + _PAUSE_SECONDS >= until:
                    raise reason from None
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _delete(self, ids: Sequence[str] | None, until: float) -> int:
        session = await self._ready(until)
        if ids is None:
            sent = session.connection.fetchval(_DELETE.format(where=""))
        else:
            wanted = [one for one in dict.fromkeys(ids) if one.isascii() and "\0" not in one]
            where = "WHERE id = ANY($1::text[])"
            sent = session.connection.fetchval(_DELETE.format(where=where), wanted)
        return int(await self._watched(sent, session, until))

    async def _probe(self, until: float) -> None:
        async def ask() -> Session:
            self._drop_unused()
            session = await self._ready(until)
            sent = self._cluster.facts(session)
            return session._replace(facts=await self._watched(sent, session, until))

        session = await self._repeated(ask, until)
        facts = session.facts
        self._options.on_replicas(facts.standbys, facts.lag)
        fault = "it is a standby" if facts.is_standby else facts.fault(self._options.quorum)
        if fault:
            self._drop()
            raise StoreError(fault, kind="quorum" if not facts.is_standby else "io")

    def _drop_unused(self) -> None:
        if self._session is not None and self._session.connection.is_closed():
            self._drop()

    # --- retention

    def _prune(self) -> bool:
        """Do a step of retention if one is due; tell whether more is."""
        session = self._session
        if session is None or not self._retention.is_due():
            return False
        until = time.monotonic() + PROBE_SECONDS
        try:
            step = self._retention.step(session.connection)
            return self._run(self._watched(step, session, until))
        except _Again as trouble:
            self._drop()
            raise trouble.error from None


def _left(until: float) -> float:
    return max(0.0, until - time.monotonic())
