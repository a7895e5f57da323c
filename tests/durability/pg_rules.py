"""What a 250 of the store `postgresql` rests on: one check for each rule, on a real cluster.

Each check is given a whole cluster and the URL of a new store, and raises `AssertionError` where the
rule is broken. The mutants leave one rule out each, and the check of the rule has to catch them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import asyncpg
import pytest

from prixfixe.mail.message import IdSource
from prixfixe.stores.base import StoreError, StoreOptions
from prixfixe.stores.postgresql import store as module
from prixfixe.stores.postgresql.address import parse
from prixfixe.stores.postgresql.cluster import Cluster as Hosts
from prixfixe.stores.postgresql.cluster import NoPrimaryError
from prixfixe.stores.postgresql.reader import PostgresqlReader
from prixfixe.testing.store_contract import make, opened, reading
from tests.support.pg_cluster import Cluster, Node

__all__ = ["CHECKS", "MUTANTS", "SHORT", "until"]

PATIENCE = 30.0
HELD_SECONDS = 1.5  # in which nothing may happen that is only allowed later
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"

Check = Callable[[Cluster, str], Awaitable[None]]


async def until(look: Callable[[], bool], what: str) -> None:
    """Wait until something holds."""
    end = asyncio.get_running_loop().time() + PATIENCE
    while not await asyncio.to_thread(look):
        assert asyncio.get_running_loop().time() < end, what
        await asyncio.sleep(0.02)


async def is_held(put: asyncio.Future[None]) -> bool:
    """Whether a put is not answered for a while."""
    done, _ = await asyncio.wait({put}, timeout=HELD_SECONDS)
    return not done


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """Give what is put meanwhile less time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "COMMIT_SECONDS", seconds)
        yield


def rows(cluster: Cluster, url: str, what: str = "count(*)", where: str = "") -> list[str]:
    """Ask the primary for what is in the store's table."""
    return cluster.ask(f"SELECT {what} FROM {table_of(url)} {where}")


def table_of(url: str) -> str:
    """Return the store's table, with its schema."""
    return f"{url.partition('search_path=')[2]}.prixfixe_mail"


def standbys(cluster: Cluster) -> list[Node]:
    """Return the nodes that are not the primary."""
    return [node for node in cluster.nodes if node is not cluster.primary]


@contextlib.asynccontextmanager
async def connected(node: Node) -> AsyncIterator[Any]:
    """Yield a connection of somebody else, and end it whatever it is at."""
    connection = await asyncpg.connect(host="127.0.0.1", port=node.port, user="postgres")
    try:
        yield connection
    finally:
        connection.terminate()


@contextlib.asynccontextmanager
async def waiting(
    cluster: Cluster, url: str, seconds: float = 25.0
) -> AsyncIterator[tuple[Any, asyncio.Future[None]]]:
    """Yield a store and a put whose commit waits for standbys that are frozen."""
    async with opened(url) as store:
        await store.put(make(IdSource()))
        for node in standbys(cluster):
            node.freeze()
        with within(seconds):
            put = store.put(make(IdSource()))
        await until(lambda: cluster.ask(WAITING) == ["1"], "the commit does not wait")
        try:
            yield store, put
        finally:
            for node in standbys(cluster):
                node.thaw()
            with contextlib.suppress(StoreError):
                await asyncio.wait_for(asyncio.shield(put), PATIENCE)


async def cancelled_wait_is_no_success(cluster: Cluster, url: str) -> None:
    """P2: somebody cancels the wait, and the database reports success."""
    async with waiting(cluster, url) as (_store, put):
        cluster.ask(
            "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        )
        assert await is_held(put), "a cancelled wait was taken for a success"
        for node in standbys(cluster):
            node.thaw()
        await put
        assert rows(cluster, url) == ["2"]


async def own_deadline_is_no_success(cluster: Cluster, url: str) -> None:
    """P2: our own time is up while the commit waits."""
    async with waiting(cluster, url, 2.0) as (store, put):
        with pytest.raises(StoreError) as caught:
            await put
        assert caught.value.kind == "timeout"
        for node in standbys(cluster):
            node.thaw()
        await until(lambda: cluster.ask(WAITING) == ["0"], "an abandoned commit waits")
        await store.put(make(IdSource()))


async def lost_connection_is_written_again(cluster: Cluster, url: str) -> None:
    """P3: the row is there when it is written again, and that proves nothing."""
    async with waiting(cluster, url) as (_store, put):
        end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        cluster.ask(end)
        await until(lambda: rows(cluster, url) == ["2"], "the row is not there")
        assert await is_held(put), "a row that no standby has was acknowledged"
        for node in standbys(cluster):
            node.thaw()
        await put
        assert rows(cluster, url, "count(*) || ' ' || max(attempt)") == ["2 1"]


async def a_waiting_row_is_seen_by_nobody(cluster: Cluster, url: str) -> None:
    """Readers do not run ahead of the 250."""
    async with waiting(cluster, url) as (_store, put):
        with reading(url) as reader:
            assert (await asyncio.to_thread(reader.totals)).messages == 1
        assert not put.done()


async def no_names_no_mail(cluster: Cluster, url: str) -> None:
    """P4: the names of the standbys are taken away: nothing is stored."""
    async with opened(url) as store:
        await store.put(make(IdSource()))
        cluster.set(cluster.primary, "synchronous_standby_names = ''")
        cluster.wait_until("SHOW synchronous_standby_names", "")
        with within(2.0), pytest.raises(StoreError) as caught:
            await store.put(make(IdSource()))
        assert caught.value.kind == "quorum"
        with pytest.raises(StoreError):
            await store.probe()
        assert rows(cluster, url) == ["1"]
        cluster.follow_nobody(cluster.primary)
        cluster.wait_for_standbys(2)
        await store.put(make(IdSource()))
        await store.probe()


async def names_taken_away_during_a_wait(cluster: Cluster, url: str) -> None:
    """P4, the hole: the commit that waits succeeds then, without any warning."""
    async with waiting(cluster, url) as (_store, put):
        cluster.set(cluster.primary, "synchronous_standby_names = ''")
        await until(lambda: rows(cluster, url) == ["2"], "the commit still waits")
        assert await is_held(put), "a commit was acknowledged that waited for nobody"
        cluster.follow_nobody(cluster.primary)
        for node in standbys(cluster):
            node.thaw()
        await put


async def no_standby_no_mail(cluster: Cluster, url: str) -> None:
    """Too few standbys are connected: refused at once, and nothing hangs; back with the first."""
    async with opened(url) as store:
        gone = standbys(cluster)
        for node in gone:
            node.kill()
        cluster.wait_for_standbys(0)
        with within(2.0), pytest.raises(StoreError) as caught:
            await store.put(make(IdSource()))
        assert caught.value.kind == "quorum"
        with pytest.raises(StoreError):
            await store.probe()
        assert rows(cluster, url) == ["0"]
        gone[0].start()
        cluster.wait_for_standbys(1)
        await store.put(make(IdSource()))
        await store.probe()


async def commits_do_not_wait_for_commits_elsewhere(cluster: Cluster, url: str) -> None:
    """P1: a notification of another server goes out while this server's commit waits."""
    async with waiting(cluster, url) as (_store, put):
        async with connected(cluster.primary) as other:
            told = asyncio.ensure_future(other.execute("NOTIFY prixfixe"))
            done, _ = await asyncio.wait({told}, timeout=5)
        await asyncio.wait({told})
        fault = told.exception()
        assert done, "a notification waits for a commit of another server"
        assert fault is None
        assert not put.done()


async def late_commits_are_told(cluster: Cluster, url: str) -> None:
    """P5: a transaction that began earlier is committed later."""
    schema = url.partition("search_path=")[2]
    ids = IdSource()
    async with opened(url) as store, connected(cluster.primary) as slow:
        transaction = slow.transaction()
        await transaction.start()
        late, at = ids()
        await slow.execute(
            f"INSERT INTO {schema}.prixfixe_mail(id, received_at, size, crc, envelope, body)"
            " VALUES($1, $2, 0, 0, '', '')",
            late,
            at,
        )
        await store.put(fast := make(ids))
        with reading(url) as reader:
            first: Any = await asyncio.to_thread(reader.changes, None)  # type: ignore[attr-defined]
            seen: Any = await asyncio.to_thread(reader.changes, first.since)  # type: ignore[attr-defined]
            state = await asyncio.to_thread(reader.state)  # type: ignore[attr-defined]
            await transaction.commit()
            more: Any = await asyncio.to_thread(reader.changes, seen.since)  # type: ignore[attr-defined]
            assert late in [place.id for place in more.added], "a late commit is missed"
            assert [place.id for place in seen.added] == [fast.id]
            assert await asyncio.to_thread(reader.state) != state  # type: ignore[attr-defined]


async def reads_follow_the_acknowledgement(cluster: Cluster, url: str) -> None:
    """P6: standbys have flushed what was acknowledged, and not replayed it yet."""
    ids = IdSource()
    async with opened(url) as store:
        await store.put(make(ids))
        (written,) = cluster.ask("SELECT pg_current_wal_lsn()")
        replayed = f"SELECT pg_last_wal_replay_lsn() >= '{written}'"
        for node in standbys(cluster):  # they know the table
            cluster.wait_until(replayed, "t", node=node)
            await until(
                lambda node=node: bool(cluster.ask("SELECT pg_wal_replay_pause()", node=node)),
                "replay goes on",
            )
        try:
            await store.put(message := make(ids))
            with reading(url) as reader:
                got = await asyncio.to_thread(reader.get, message.id)
                assert got == message, "an acknowledged message cannot be read"
        finally:
            for node in standbys(cluster):
                cluster.ask("SELECT pg_wal_replay_resume()", node=node)


async def lost_listeners_come_back(cluster: Cluster, url: str) -> None:
    """P7: a link that is cut misses no mail of another server."""
    heard: list[str] = []
    options = StoreOptions(on_elsewhere=heard.extend)
    ids = IdSource()
    async with opened(url, options) as one, opened(url) as other:
        await one.probe()
        linked = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%prixfixe_said%'"
        await until(lambda: int(cluster.ask(linked)[0]) >= 1, "no link")
        await other.put(first := make(ids))
        await until(lambda: first.id in heard, "mail of another server is not told")
        cluster.ask(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name LIKE 'prixfixe % link'"
        )
        await other.put(second := make(ids))
        await until(lambda: second.id in heard, "mail was missed while the link was cut")
        assert heard.count(first.id) == heard.count(second.id) == 1
        await one.put(own := make(ids))
        await other.put(third := make(ids))
        await until(lambda: third.id in heard, "mail of another server is not told")
        assert own.id not in heard


async def thawed_primary_is_left_alone(cluster: Cluster, url: str) -> None:
    """P8: an old primary that was frozen is writable when it thaws."""
    old = cluster.primary
    async with opened(url) as store:
        await store.put(make(IdSource()))
        old.freeze()
        put = store.put(make(IdSource()))
        new = await asyncio.to_thread(cluster.promote)
        await asyncio.wait_for(put, PATIENCE)
        old.thaw()
        # It comes first in the URL, and still has what makes it look whole.
        where = f"postgresql://postgres@127.0.0.1:{old.port},127.0.0.1:{new.port}/postgres"
        hosts = Hosts(parse(where.partition(":")[2]), "test")
        for _ in range(3):
            session = await hosts.primary()
            session.connection.terminate()
            assert session.host.port == new.port, "mail goes to an old primary"
        await store.put(make(IdSource()))
        assert rows(cluster, url) == ["3"]


async def large_messages_and_storage(cluster: Cluster, url: str) -> None:
    """P9: bodies are stored as they are, outside the row, and go alone."""
    async with opened(url) as store:
        ids = IdSource()
        messages = [make(ids, bytes(range(256)) * 40_000) for _ in range(4)]
        await asyncio.gather(*map(store.put, messages))
        with reading(url, store) as reader:
            for message in messages:
                assert await asyncio.to_thread(reader.get, message.id) == message
    schema = url.partition("search_path=")[2]
    storage = (
        "SELECT attstorage FROM pg_attribute WHERE attname = 'body'"
        f" AND attrelid = '{schema}.prixfixe_mail'::regclass"
    )
    assert cluster.ask(storage) == ["e"]


async def two_servers_prune_together(cluster: Cluster, url: str) -> None:
    """P10: retention by two servers at once leaves the newest, and counts each message once."""
    pruned: list[int] = []
    options = StoreOptions(max_messages=20, on_pruned=pruned.append)
    ids = IdSource()
    async with opened(url, options) as one, opened(url, options) as other:
        messages = [make(ids) for _ in range(200)]
        for at in range(0, 200, 20):
            some = messages[at : at + 20]
            await asyncio.gather(*map(one.put, some[:10]), *map(other.put, some[10:]))
        await one.put(make(ids))
        left = int(rows(cluster, url)[0])
        assert 20 <= left <= 40
        assert sum(pruned) == 201 - left


async def a_lagging_standby_is_told(cluster: Cluster, url: str) -> None:
    """A standby that is behind is promoted by hand: the other cannot follow it, and mail stops."""
    _ahead, behind = standbys(cluster)
    ids = IdSource()
    lost: list[int] = []
    async with opened(url, StoreOptions(on_lost=lost.append)) as store:
        await store.put(make(ids))
        cluster.wait_until(f"SELECT count(*) FROM {table_of(url)}", "1", node=behind)
        cluster.set(behind, "primary_conninfo = 'host=127.0.0.1 port=1 user=postgres'")
        cluster.wait_for_standbys(1)
        await asyncio.gather(*(store.put(make(ids, b"x" * 10_000)) for _ in range(40)))
        cluster.primary.kill()
        await asyncio.to_thread(cluster.promote, behind)
        kinds = set()
        while "quorum" not in kinds:  # the promotion may take its time
            with within(2.0), pytest.raises(StoreError) as caught:
                await store.put(make(ids))
            kinds.add(caught.value.kind)
        assert lost == [40], "nobody is told that acknowledged mail is gone"


CHECKS: dict[str, Check] = {
    "P1": commits_do_not_wait_for_commits_elsewhere,
    "P2 cancel": cancelled_wait_is_no_success,
    "P2 deadline": own_deadline_is_no_success,
    "P3": lost_connection_is_written_again,
    "visible": a_waiting_row_is_seen_by_nobody,
    "P4": no_names_no_mail,
    "P4 hole": names_taken_away_during_a_wait,
    "no standby": no_standby_no_mail,
    "P5": late_commits_are_told,
    "P6": reads_follow_the_acknowledgement,
    "P7": lost_listeners_come_back,
    "P8": thawed_primary_is_left_alone,
    "P9": large_messages_and_storage,
    "P10": two_servers_prune_together,
    "lagging": a_lagging_standby_is_told,
}

# What the default run leaves to the session `cluster`.
SHORT = set(CHECKS) - {"visible", "no standby", "P8", "P9", "lagging"}

# --- mutants: each leaves one rule out


def _only(sessions: list[Any], chosen: Any) -> Any:
    for one in sessions:
        if one is not chosen:
            one.connection.terminate()
    if chosen is None:
        raise NoPrimaryError("no host", is_for_good=False)
    return chosen


def _no_epoch(patch: pytest.MonkeyPatch) -> None:
    async def same(*_args: object) -> None:
        return None

    patch.setattr(module._Database, "_require_same_epoch", same)


def _do_nothing(patch: pytest.MonkeyPatch) -> None:
    again = module.AGAIN.replace(
        "DO UPDATE SET attempt = prixfixe_mail.attempt + 1\n  RETURNING id, crc)",
        "DO NOTHING RETURNING id, crc), n AS (SELECT id, crc FROM m"
        " UNION ALL SELECT id, crc FROM prixfixe_mail WHERE id = ANY($1::text[]))",
    ).replace("FROM m JOIN", "FROM n m JOIN")
    assert "DO NOTHING" in again
    patch.setattr(module, "AGAIN", again)


def _no_warning(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(module._Database, "_warned", lambda *_args: None)


def _wait_for(patch: pytest.MonkeyPatch) -> None:
    """Cancel after a while, and look whether the row is there: what is usual.

    The database warns of it, and the driver tells whoever listens; here nobody does.
    """
    _no_warning(patch)

    async def watched(_self: object, work: Any, session: Any, _until: float) -> Any:
        try:
            return await asyncio.wait_for(work, 0.5)
        except TimeoutError:
            count = "SELECT 1, count(*) FROM prixfixe_mail WHERE xid = (SELECT max(xid) FROM prixfixe_mail)"
            return await session.connection.fetchrow(count)

    patch.setattr(module._Database, "_watched", watched)


def _standby_reads(patch: pytest.MonkeyPatch) -> None:
    async def primary(self: Hosts, seconds: float = 3.0) -> Any:
        sessions, _ = await self._ask_all(seconds, lambda _facts: seconds)
        return _only(sessions, next((one for one in sessions if one.facts.is_standby), None))

    async def connected(self: PostgresqlReader) -> Any:
        if self._session is None:
            self._session = await primary(self._cluster)
        return self._session

    async def opened_on_standby(self: PostgresqlReader) -> None:
        await connected(self)

    patch.setattr(PostgresqlReader, "_open", opened_on_standby)
    patch.setattr(PostgresqlReader, "_connected", connected)


def _notify_inside(patch: pytest.MonkeyPatch) -> None:
    first = module.FIRST.replace(
        "FROM m", "+ 0 * (SELECT count(pg_notify('prixfixe', '')) FROM g) FROM m", 1
    )
    assert "pg_notify" in first
    patch.setattr(module, "FIRST", first)


def _first_writable(patch: pytest.MonkeyPatch) -> None:
    async def primary(self: Hosts, seconds: float = 3.0) -> Any:
        sessions, _ = await self._ask_all(seconds, lambda _facts: seconds)
        order = {host: at for at, host in enumerate(self._address.hosts)}
        fit = [one for one in sessions if not one.facts.is_standby]
        return _only(sessions, min(fit, key=lambda one: order[one.host], default=None))

    patch.setattr(Hosts, "primary", primary)


def _newest_seen(patch: pytest.MonkeyPatch) -> None:
    """Go on after the highest transaction that was seen."""
    from prixfixe.stores.postgresql import reader

    highest = "SELECT coalesce(max(xid), 0) + 1 FROM prixfixe_mail"
    patch.setattr(reader, "XMIN", highest)


# name: (what leaves a rule out, the check that has to catch it, what the check says then)
MUTANTS: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], str, str]] = {
    "no epoch check": (_no_epoch, "P4 hole", "acknowledged that waited for nobody"),
    "DO NOTHING": (_do_nothing, "P3", "a row that no standby has was acknowledged"),
    "wait_for": (_wait_for, "P2 cancel", "a cancelled wait was taken for a success"),
    "warnings ignored": (_no_warning, "P2 cancel", "a cancelled wait was taken for a success"),
    "standby reads": (_standby_reads, "P6", "an acknowledged message cannot be read"),
    "NOTIFY in the insert": (_notify_inside, "P1", "a notification waits for a commit"),
    "the first writable host": (_first_writable, "P8", "mail goes to an old primary"),
    "a cursor by what was seen": (_newest_seen, "P5", "a late commit is missed"),
}
