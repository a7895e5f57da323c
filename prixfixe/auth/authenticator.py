"""Who may log in: the check of a password or a proof, and patience with those who guess.

Owns: the users in use, the threads that hash, and failures per peer network.
Promises: the event loop never waits for a hash; a user that does not exist takes as long as one
that does; what waits and what is remembered is bounded; no repr or message holds a secret.
Refuses: the users file (see `users`), SASL (see session) and reply codes. A password once verified
is remembered as a keyed digest in memory, so that a client that logs in for every message pays for
one check only, and is heard even while its network is locked out for the failures of others there.
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
# With the delays, this many take a client more than two minutes; then it is left unheard.
_MAX_FAILURES = 15
_MAX_PEERS = 10_000
_MAX_PLACES = 10_000


class Verdict(enum.Enum):
    """What became of a login."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    UNAVAILABLE = "unavailable"  # Too many checks wait, or one could not be made: 454.
    BLOCKED = "blocked"  # Too many failures from this network: 421, no hash was made.


def _tell_nobody(_network: str, _failures: int, _seconds: float) -> None:
    """Take the place of a log."""


class AuthThrottle:
    """Remember failed logins per network (IPv6: /64) for some time after the last one.

    `max_failures` lock a network out for `seconds` (of no further failure); either may be 0, and
    then nobody is. `tell` is called with the network when it is locked out.

    A success clears nothing, or one good account would buy any number of guesses. At the bound
    the network longest without a failure is forgotten.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        max_failures: int = _MAX_FAILURES,
        seconds: float = _LOCKOUT_SECONDS,
        tell: Callable[[str, int, float], None] = _tell_nobody,
    ) -> None:
        self._clock = clock
        self._max_failures = max_failures if seconds else 0
        self._seconds = seconds or _LOCKOUT_SECONDS
        self._tell = tell
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
            self._tell(network, count + 1, self._seconds)

    def delay_seconds(self, peer: str) -> float:
        """Return how long to hold back the reply to a failure: none for three, then doubling."""
        excess = self._count(peer_network(peer), self._clock()) - _FREE_FAILURES
        return min(2.0 ** (excess - 1), _MAX_DELAY_SECONDS) if excess > 0 else 0.0

    def is_blocked(self, peer: str) -> bool:
        """Tell whether the peer has failed too often to be heard."""
        if not self._failures or not self._max_failures:
            return False
        return self._count(peer_network(peer), self._clock()) >= self._max_failures

    def _count(self, network: str, now: float) -> int:
        count, last = self._failures.get(network, (0, now))
        return count if now - last < self._seconds else 0


class Authenticator:
    """Check logins against the users file, or accept every one when `path` is None.

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
        # Who logged in from where, so that it still can while its network is locked out.
        self._places: dict[tuple[str, str], None] = {}

    @property
    def error(self) -> str:
        """Return why the newest users file is not in use, or an empty text."""
        return self._error

    async def verify(self, user: str, password: bytes, *, peer: str = "") -> Verdict:
        """Judge one login from the host `peer`; the answer to a failure may be held back."""
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
        """Return what finds a user's keys; None unless every user has some, for SCRAM needs them.

        A user that does not exist gets keys that no proof fits.
        """
        users = self._users
        return users.keys if users.has_scram else None

    async def settle(self, user: str, keys: Keys, *, is_proven: bool, peer: str = "") -> Verdict:
        """Judge one login by proof, made with `keys`; the answer to a failure may be held back."""
        if self._is_blocked(user, peer):
            return Verdict.BLOCKED
        # The same keys still, or a reload came in between, and this user may be gone.
        if is_proven and self._users.find(user) == keys:
            self._remember(user, peer)
            return Verdict.ACCEPTED
        if self._throttle.is_blocked(peer):
            return Verdict.BLOCKED
        self._throttle.failed(peer)
        await self._sleep(self._throttle.delay_seconds(peer))
        return Verdict.REJECTED

    def _is_blocked(self, user: str, peer: str) -> bool:
        """Whether this user is not heard from there: it never logged in from that network."""
        if not self._throttle.is_blocked(peer):
            return False
        return (composed(user), peer_network(peer)) not in self._places

    def _remember(self, user: str, peer: str) -> None:
        """Note that this user logged in from there; at the bound the eldest is forgotten."""
        places = self._places
        places[composed(user), peer_network(peer)] = None
        if len(places) > _MAX_PLACES:
            del places[next(iter(places))]

    def poll(self) -> ReloadResult | None:
        """Reload when the file is another one than at the last try, else return None."""
        return self.reload() if self._watch.is_due() else None

    def reload(self) -> ReloadResult:
        """Put the users now on disk in use, or keep the present ones and say why."""
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
        """Let the threads end after the checks they are at."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _digest(self, user: str, password: bytes) -> bytes:
        parts = user.encode("utf-8", "surrogatepass") + b"\0" + password
        return hashlib.blake2b(parts, key=self._key).digest()

    async def _check_apart(self, user: str, password: bytes, digest: bytes, peer: str) -> Verdict:
        """Check in a task of its own: hanging up neither frees the place nor hides the failure."""
        task = asyncio.create_task(self._check(user, password, digest, peer))
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)
        return await asyncio.shield(task)

    async def _check(self, user: str, password: bytes, digest: bytes, peer: str) -> Verdict:
        async with self._free_threads:
            # Again, for those that waited in the queue while others of this peer failed.
            if self._throttle.is_blocked(peer):
                return Verdict.BLOCKED
            users = self._users
            matches = users.hash_to_check(user).matches
            loop = asyncio.get_running_loop()
            try:
                is_match = await loop.run_in_executor(self._pool, matches, password)
            except (ValueError, MemoryError, RuntimeError):  # No memory, or the pool is closed.
                return Verdict.UNAVAILABLE
        if not is_match or users.find(user) is None:
            self._throttle.failed(peer)
            return Verdict.REJECTED
        users.verified[user] = digest
        self._remember(user, peer)
        return Verdict.ACCEPTED
