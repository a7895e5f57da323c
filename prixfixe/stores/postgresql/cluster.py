"""The hosts of a database: find the primary among them, and what it says of itself.

Every host is asked at once, because one that is writable need not be the primary: after a
failover, an old primary that was only frozen is writable too. The highest timeline wins, and a
timeline below one that was seen is never taken again.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from typing import TYPE_CHECKING, Any, NamedTuple

import asyncpg

from prixfixe.stores.postgresql.address import FileError
from prixfixe.stores.postgresql.errors import FAULTS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from prixfixe.stores.postgresql.address import Address, Host

__all__ = ["EPOCH", "Cluster", "Facts", "NoPrimaryError", "Session", "guarded_by"]

CONNECT_SECONDS = 3.0
SETTLE_SECONDS = 0.1
GRACE_SECONDS = 0.5  # for the other hosts, once one is writable
NEWER_SECONDS = 0.05  # the same, when its timeline is above any seen: there was a failover
PATIENCE_SECONDS = 0.5  # for the other hosts, once a standby answered; twice as long each time
# Changes whenever the configuration is read again, so also when the standbys' names change.
EPOCH = "SELECT pg_conf_load_time()::text || current_setting('synchronous_standby_names')"
# pg_control_checkpoint() would still tell the old timeline for a while after a promotion.
_FACTS = """
SELECT pg_is_in_recovery() AS is_standby,
  CASE WHEN pg_is_in_recovery() THEN 0 ELSE
    ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int
  END AS timeline,
  pg_conf_load_time()::text || current_setting('synchronous_standby_names') AS epoch,
  current_setting('synchronous_standby_names') AS names,
  current_setting('synchronous_commit') AS commits,
  current_setting('fsync') = 'on' AND current_setting('full_page_writes') = 'on' AS is_safe,
  current_setting('default_transaction_read_only') = 'on' AS is_read_only,
  pg_has_role(current_user, 'pg_read_all_stats', 'USAGE') AS sees_standbys,
  (SELECT count(*) FROM pg_stat_replication WHERE sync_state IN ('quorum', 'sync')) AS standbys,
  CASE WHEN pg_is_in_recovery() THEN 0 ELSE coalesce((
    SELECT max(pg_wal_lsn_diff(pg_current_wal_lsn(), flush_lsn)) FROM pg_stat_replication
    WHERE sync_state IN ('quorum', 'sync')), 0)::bigint
  END AS lag
"""
_NAMES = re.compile(r"\s*(?:(?:FIRST|ANY)\s+)?(\d+)\s*\((.*)\)\s*", re.IGNORECASE | re.DOTALL)
_NO_LIMIT = float("inf")
_OTHER_NAME = (62, 64)  # X509_V_ERR_HOSTNAME_MISMATCH and …_IP_ADDRESS_MISMATCH of OpenSSL
_OURS = (asyncpg.InterfaceError, ssl.SSLCertVerificationError, FileError)
_FOR_GOOD = ("28", "3D", "42")  # SQLSTATE classes: login, no such database, rights


class Facts(NamedTuple):
    """What a server says of itself. `lag` is in bytes of log, of the standby furthest behind."""

    is_standby: bool
    timeline: int
    epoch: str
    names: str
    commits: str
    is_safe: bool
    is_read_only: bool
    sees_standbys: bool
    standbys: int
    lag: int

    def fault(self, quorum: int) -> str:
        """Return why no 250 can be given here, or "". `quorum` 0 means a server by itself."""
        if not self.is_safe:
            return "fsync or full_page_writes is off; set both to on"
        if quorum == 0:
            return "synchronous_commit is off; set it to on" if self.commits == "off" else ""
        if self.commits not in ("on", "remote_apply"):
            return f"synchronous_commit is {self.commits}; set it to on, for this role too"
        guarded = guarded_by(self.names)
        if guarded < quorum:
            return (
                f"synchronous_standby_names is {self.names!r}, which waits for {guarded} named"
                f" standbys and not {quorum}; set it to 'ANY {quorum} (NAME, …)' with the names of"
                " all standbys (SMTP_STORE_QUORUM=0 if a server without standbys is meant)"
            )
        if not self.sees_standbys:
            return "the role may not see standbys; GRANT pg_read_all_stats to it"
        if self.standbys < quorum:
            return f"{self.standbys} synchronous standbys are connected, and {quorum} are needed"
        return ""


def guarded_by(names: str) -> int:
    """Return for how many named standbys a commit waits by `synchronous_standby_names`.

    `*` counts as none: nobody can know which standby has what was acknowledged.
    """
    found = _NAMES.fullmatch(names)
    count, listed = (int(found[1]), found[2]) if found else (1, names)
    each = [one.strip().strip('"') for one in listed.split(",")]
    return 0 if "*" in each or not any(each) else count


class NoPrimaryError(Exception):
    """No host is the primary now. `is_for_good`: the same question gets the same answer."""

    def __init__(self, text: str, *, is_for_good: bool) -> None:
        super().__init__(text)
        self.is_for_good = is_for_good


class Session(NamedTuple):
    """A connection to the primary, and what was true when it was made."""

    connection: Any
    facts: Facts
    host: Host
    pid: int


class Cluster:
    """The hosts of one address, as one part of one server asks them."""

    def __init__(
        self, address: Address, name: str, settings: Mapping[str, str] | None = None
    ) -> None:
        self._address = address
        self._settings = {"application_name": name, **(settings or {}), **dict(address.server)}
        self.timeline = 0  # the highest that was seen
        self._patience = PATIENCE_SECONDS

    async def primary(self, seconds: float = CONNECT_SECONDS) -> Session:
        """Return a connection to the primary. Raises `NoPrimaryError`."""
        sessions, faults = await self._ask_all(seconds, self._grace)
        fit = [one for one in sessions if self._is_primary(one.facts)]
        best = max(fit, key=lambda one: (one.facts.timeline, one.facts.standbys), default=None)
        for one in sessions:
            if one is not best:
                one.connection.terminate()
        if best is None:
            self._patience = min(2 * self._patience, CONNECT_SECONDS)
            faults += [f"{one.host} {_reason(one.facts)}" for one in sessions]
            is_for_good = all(isinstance(each, _ForGood) for each in faults)
            text = f"no primary among {self._address}: {'; '.join(faults)}"
            raise NoPrimaryError(text, is_for_good=is_for_good)
        self.timeline = best.facts.timeline
        self._patience = PATIENCE_SECONDS
        return best

    async def facts(self, session: Session) -> Facts:
        """Ask a connection again."""
        return Facts(*await session.connection.fetchrow(_FACTS))

    async def has_newer(self, seconds: float, unless: asyncio.Future[Any]) -> bool:
        """Whether a host is the primary of a timeline that is higher than any seen.

        It is not looked for any longer when `unless` is done.
        """
        sessions, _ = await self._ask_all(seconds, self._until_newer, unless)
        for one in sessions:
            one.connection.terminate()
        return any(map(self._is_newer, (one.facts for one in sessions)))

    def _is_newer(self, facts: Facts) -> bool:
        return not facts.is_standby and facts.timeline > self.timeline

    def _until_newer(self, facts: Facts) -> float:
        return 0.0 if self._is_newer(facts) else _NO_LIMIT

    def _grace(self, facts: Facts) -> float:
        """Return how long the other hosts are waited for after this answer.

        A frozen host never answers, and a standby may be promoted while it is waited for. Whoever
        has seen no primary yet asks once, and waits for all.
        """
        if not self._is_primary(facts):
            return self._patience if self.timeline else _NO_LIMIT
        return NEWER_SECONDS if 0 < self.timeline < facts.timeline else GRACE_SECONDS

    def _is_primary(self, facts: Facts) -> bool:
        return not (facts.is_standby or facts.is_read_only) and facts.timeline >= self.timeline

    async def _ask_all(
        self,
        seconds: float,
        grace: Callable[[Facts], float],
        unless: asyncio.Future[Any] | None = None,
    ) -> tuple[list[Session], list[str]]:
        """Return sessions with all hosts that answer in time, and why others have none.

        `grace` says for how many seconds more the others are waited for after an answer; nobody
        is waited for once `unless` is done.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        waiting = {asyncio.ensure_future(self._ask(host)): host for host in self._address.hosts}
        for task in waiting:
            task.add_done_callback(_look_at)
        sessions: list[Session] = []
        faults: list[str] = []
        try:
            while waiting and (left := until - loop.time()) > 0:
                first = [*waiting] if unless is None else [*waiting, unless]
                await asyncio.wait(first, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                if unless is not None and unless.done():
                    break
                for task in [one for one in waiting if one.done()]:
                    _sort(task, waiting.pop(task), sessions, faults)
                more = min((grace(one.facts) for one in sessions), default=_NO_LIMIT)
                until = min(until, loop.time() + more)
            await _give_up(waiting)
        except BaseException:
            for one in sessions:
                one.connection.terminate()
            _end(waiting)
            raise
        faults += [f"{host} does not answer" for host in waiting.values()]
        return sessions, faults

    async def _ask(self, host: Host) -> Session:
        address = self._address
        address.require_files()
        if not host.name.startswith("/"):
            # A name that nobody knows takes seconds. While it does, the driver cannot be left
            # without an error of uvloop's that nobody takes; this can.
            await asyncio.get_running_loop().getaddrinfo(host.name, host.port)
        connection = await asyncpg.connect(
            address.uri(),
            host=host.name,
            port=host.port,
            user=address.user,
            password=address.password,
            database=address.database,
            server_settings=self._settings,
            timeout=None,
        )
        try:
            facts = Facts(*await connection.fetchrow(_FACTS))
        except BaseException:
            connection.terminate()
            raise
        return Session(connection, facts, host, connection.get_server_pid())


class _ForGood(str):
    """A fault that does not pass by itself."""

    __slots__ = ()


def _sort(
    task: asyncio.Future[Session], host: Host, sessions: list[Session], faults: list[str]
) -> None:
    try:
        sessions.append(task.result())
    except FAULTS as error:
        state = getattr(error, "sqlstate", None) or ""
        is_for_good = state.startswith(_FOR_GOOD) or isinstance(error, _OURS)
        text = f"{host}: {_told(error)}"
        faults.append(_ForGood(text) if is_for_good else text)


def _look_at(task: asyncio.Future[Session]) -> None:
    """Take the error of an attempt that may be given up by then: else the loop reports it."""
    if not task.cancelled():
        task.exception()


def _told(error: BaseException) -> str:
    """Return what is wrong, and the remedy where the driver knows none."""
    if isinstance(error, ssl.SSLCertVerificationError):
        remedy = "name its CA with sslrootcert=FILE"
        if error.verify_code in _OTHER_NAME:
            remedy = "the URL needs a name of the host that is in its certificate"
        return f"{error.verify_message.rstrip('.')}; {remedy}"
    return str(error) or type(error).__name__


async def _give_up(waiting: Mapping[asyncio.Task[Session], Host]) -> None:
    """End attempts to connect; nothing was written over them."""
    if waiting:  # the driver leaves an error that nobody takes when it is only just at it
        await asyncio.wait(waiting, timeout=SETTLE_SECONDS)
    _end(waiting)
    await asyncio.gather(*waiting, return_exceptions=True)


def _end(waiting: Mapping[asyncio.Task[Session], Host]) -> None:
    """End attempts, and what comes of them all the same."""
    for task in waiting:
        task.add_done_callback(_end_one)
        task.cancel()


def _end_one(task: asyncio.Task[Session]) -> None:
    if not task.cancelled() and task.exception() is None:
        with contextlib.suppress(Exception):
            task.result().connection.terminate()


def _reason(facts: Facts) -> str:
    if facts.is_standby:
        return "is a standby"
    return "is read-only" if facts.is_read_only else "was the primary before a failover"
