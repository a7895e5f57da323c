"""Checks of passwords and SCRAM proofs, and the lockout of networks that guess.

The event loop never waits for a hash. An unknown user takes as long as a known one. The queue and
what is remembered are bounded, and no repr or message contains a secret.
"""

from __future__ import annotations

import asyncio
import enum
import hashlib
import hmac
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from prixfixe.auth.hashes import composed, prepare
from prixfixe.auth.users_file import Users, UsersError, read_users
from prixfixe.limits.admission import peer_network
from prixfixe.runtime.watch import ReloadResult, Watch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from prixfixe.smtp.scram import Keys

__all__ = ["AuthThrottle", "Authenticator", "ReloadResult", "Verdict"]

_THREADS = 2
# Two threads finish about 16 checks a second, so the last in the queue waits for two seconds.
_MAX_PENDING = 32

_LOCKOUT_SECONDS = 600.0
_FREE_FAILURES = 3
_MAX_DELAY_SECONDS = 16.0
# With the delays, this many failures take a client more than two minutes.
_MAX_FAILURES = 15
_MAX_PEERS = 10_000
_MAX_PLACES = 10_000


class Verdict(enum.Enum):
    """The result of a login."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    UNAVAILABLE = "unavailable"  # Too many checks wait, or a check failed: 454.
    BLOCKED = "blocked"  # Too many failures from this network: 421, no hash was computed.


def _no_report(_network: str, _failures: int, _seconds: float) -> None:
    """Do nothing: the default of `on_lockout`."""


class AuthThrottle:
    """Count failed logins per network (IPv6: /64) until `seconds` pass without another one.

    `max_failures` lock a network out; 0 of either disables this. `on_lockout` is then called with
    the network, the number of failures and the seconds.

    A success does not reset the count: otherwise one good account would allow any number of
    guesses. At the limit of networks, the one with the oldest last failure is dropped.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        max_failures: int = _MAX_FAILURES,
        seconds: float = _LOCKOUT_SECONDS,
        on_lockout: Callable[[str, int, float], None] = _no_report,
    ) -> None:
        self._clock = clock
        self._max_failures = max_failures if seconds else 0
        self._seconds = seconds or _LOCKOUT_SECONDS
        self._on_lockout = on_lockout
        self._failures: dict[str, tuple[int, float]] = {}

    def failed(self, peer: str) -> None:
        """Count one failure."""
        network, now = peer_network(peer), self._clock()
        count = self._count(network, now)
        self._failures.pop(network, None)
        while self._failures:
            oldest = next(iter(self._failures))
            if len(self._failures) < _MAX_PEERS and self._count(oldest, now):
                break
            del self._failures[oldest]
        self._failures[network] = (count + 1, now)
        if count + 1 == self._max_failures:
            self._on_lockout(network, count + 1, self._seconds)

    def delay_seconds(self, peer: str) -> float:
        """Return how many seconds to delay the reply to a failure: 0 for three, then doubling."""
        excess = self._count(peer_network(peer), self._clock()) - _FREE_FAILURES
        return min(2.0 ** (excess - 1), _MAX_DELAY_SECONDS) if excess > 0 else 0.0

    def is_blocked(self, peer: str) -> bool:
        """Return whether the network of the peer is locked out."""
        if not self._failures or not self._max_failures:
            return False
        return self._count(peer_network(peer), self._clock()) >= self._max_failures

    def _count(self, network: str, now: float) -> int:
        count, last = self._failures.get(network, (0, now))
        return count if now - last < self._seconds else 0


class Authenticator:
    """Check logins against the users file, or accept every login if `path` is None.

    A verified password is remembered as a keyed digest in memory. A client that logs in for every
    message pays for one check, and can log in while its network is locked out.

    Raises:
        UsersError: the file cannot be used.

    """

    def __init__(
        self,
        path: str | None,
        throttle: AuthThrottle,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._path = path
        self._throttle = throttle
        self._sleep = sleep
        self._error = ""
        self._watch = Watch(*([] if path is None else [path]))
        self._users = Users({}) if path is None else read_users(path)
        self._key = os.urandom(32)
        self._pool = ThreadPoolExecutor(_THREADS, "auth")
        self._free_threads = asyncio.Semaphore(_THREADS)
        self._pending: set[asyncio.Task[Verdict]] = set()
        # Users and the networks they logged in from: a lockout does not apply to these.
        self._places: dict[tuple[str, str], None] = {}

    @property
    def error(self) -> str:
        """Return why the newest users file is not in use, or an empty text."""
        return self._error

    async def verify(self, user: str, password: bytes, *, peer: str = "") -> Verdict:
        """Check a password from the host `peer`; the result of a failure may be delayed."""
        if self._path is None:
            return Verdict.ACCEPTED
        user, password = composed(user), prepare(password)
        digest = self._digest(user, password)
        is_blocked = self._is_blocked(user, peer)
        if not is_blocked and hmac.compare_digest(self._users.verified.get(user, b""), digest):
            self._remember(user, peer)
            return Verdict.ACCEPTED
        if is_blocked or self._throttle.is_blocked(peer):
            return Verdict.BLOCKED
        if len(self._pending) >= _MAX_PENDING:
            return Verdict.UNAVAILABLE
        verdict = await self._check_apart(user, password, digest, peer)
        if verdict is Verdict.REJECTED:
            await self._sleep(self._throttle.delay_seconds(peer))
        return verdict

    def scram_keys(self) -> Callable[[str], Keys] | None:
        """Return a function that returns a user's SCRAM keys, or None unless every user has keys.

        For an unknown user it returns keys that no proof matches.
        """
        users = self._users
        return users.keys if users.has_scram else None

    async def verify_proof(
        self, user: str, keys: Keys, *, is_proven: bool, peer: str = ""
    ) -> Verdict:
        """Check a login by a SCRAM proof with `keys`; the result of a failure may be delayed."""
        if self._is_blocked(user, peer):
            return Verdict.BLOCKED
        # A reload during the exchange may have changed the keys or removed the user.
        if is_proven and self._users.find(user) == keys:
            self._remember(user, peer)
            return Verdict.ACCEPTED
        if self._throttle.is_blocked(peer):
            return Verdict.BLOCKED
        self._throttle.failed(peer)
        await self._sleep(self._throttle.delay_seconds(peer))
        return Verdict.REJECTED

    def _is_blocked(self, user: str, peer: str) -> bool:
        """Whether the peer's network is locked out and this user never logged in from it."""
        if not self._throttle.is_blocked(peer):
            return False
        return (composed(user), peer_network(peer)) not in self._places

    def _remember(self, user: str, peer: str) -> None:
        """Note that this user logged in from this network; at the limit, the oldest is dropped."""
        places = self._places
        places[composed(user), peer_network(peer)] = None
        if len(places) > _MAX_PLACES:
            del places[next(iter(places))]

    def poll(self) -> ReloadResult | None:
        """Reload if the file changed since the last attempt, else return None."""
        return self.reload() if self._watch.is_due() else None

    def reload(self) -> ReloadResult:
        """Use the users now on disk, or continue with the present ones and return why."""
        if self._path is None:
            return ReloadResult(ok=True)
        self._watch.read()
        try:
            self._users = read_users(self._path)
        except UsersError as error:
            self._error = str(error)
            return ReloadResult(ok=False, reason=self._error)
        self._error = ""
        self._places = {}
        return ReloadResult(ok=True)

    def close(self) -> None:
        """End the threads after their current checks, without waiting."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _digest(self, user: str, password: bytes) -> bytes:
        parts = user.encode("utf-8", "surrogatepass") + b"\0" + password
        return hashlib.blake2b(parts, key=self._key).digest()

    async def _check_apart(self, user: str, password: bytes, digest: bytes, peer: str) -> Verdict:
        """Check in a separate task, so that a client that hangs up still counts as a failure."""
        task = asyncio.create_task(self._check(user, password, digest, peer))
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)
        return await asyncio.shield(task)

    async def _check(self, user: str, password: bytes, digest: bytes, peer: str) -> Verdict:
        async with self._free_threads:
            # Other logins of this peer may have failed while this one waited.
            if self._throttle.is_blocked(peer):
                return Verdict.BLOCKED
            users = self._users
            matches = users.hash_to_check(user).matches
            loop = asyncio.get_running_loop()
            try:
                is_match = await loop.run_in_executor(self._pool, matches, password)
            except (ValueError, MemoryError, RuntimeError):  # out of memory, or a closed pool
                return Verdict.UNAVAILABLE
        if not is_match or users.find(user) is None:
            self._throttle.failed(peer)
            return Verdict.REJECTED
        users.verified[user] = digest
        self._remember(user, peer)
        return Verdict.ACCEPTED
