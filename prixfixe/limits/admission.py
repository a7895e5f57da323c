"""Limits on connections: in all, for each peer, and for each peer and minute."""

from __future__ import annotations

import enum
import ipaddress
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Admission", "Refusal", "peer_network"]

# The window of the rate, and the burst that a quiet peer may send at once.
_RATE_WINDOW_SECONDS = 60.0
_MAX_RATED_PEERS = 10_000  # About 200 bytes each, so 2 MB at the very most.
# Cached text forms of IPv6 addresses: parsing one takes several microseconds.
_MAX_CACHED_ADDRESSES = 4096
# A probe connects at once after it announces itself, so both limits are generous.
_PROBE_SECONDS = 10.0
_MAX_PROBES = 16


class Refusal(enum.Enum):
    """Why a connection is refused, with 421 in place of the greeting."""

    OVER_LIMIT = "over_limit"
    OVER_IP_LIMIT = "over_ip_limit"
    RATE_LIMITED = "rate_limited"


def peer_network(host: str) -> str:
    """Return the network a peer is counted by: an IPv4 address or an IPv6 /64 (RFC 6177 section 2).

    An IPv4 address mapped into IPv6 counts as IPv4. Text that is not an address is returned as is.
    """
    if ":" not in host:
        return host
    try:
        address = ipaddress.IPv6Address(host.partition("%")[0])
    except ValueError:
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return f"{ipaddress.IPv6Address(int(address) >> 64 << 64)}/64"


def _is_loopback(host: str) -> bool:
    return host == "::1" or peer_network(host).startswith("127.")


def _no_room() -> bool:
    return False


class Admission:
    """Admit or refuse new connections, and count those admitted.

    Call `leave` once, with the same arguments, for every connection that `admit` did not refuse. An
    empty host means that a PROXY header will name the peer: until `identify` it counts in the total
    only. Zero disables a limit per peer. Memory is bounded, however many peers there are.
    """

    def __init__(
        self,
        max_connections: int,
        *,
        max_per_peer: int = 0,
        max_per_minute: int = 0,
        clock: Callable[[], float],
    ) -> None:
        self._max_connections = max_connections
        self._max_per_peer = max_per_peer
        self._clock = clock
        self._network = lru_cache(_MAX_CACHED_ADDRESSES)(peer_network)
        self._total = 0
        self._per_peer: dict[str, int] = {}
        self._rate = _Rate(max_per_minute) if max_per_minute else None
        self._expected: dict[int, float] = {}
        self._probes: set[tuple[str, int]] = set()

    @property
    def connections(self) -> int:
        """The number of clients connected, without probes."""
        return self._total

    def admit(
        self, host: str, port: int, make_room: Callable[[], bool] = _no_room
    ) -> Refusal | None:
        """Count a new connection, or return why it is refused.

        If every place is taken, `make_room` is called: it ends another connection, which calls
        `leave`, and returns True, or it returns False.
        """
        if self._expected and self._admit_probe(host, port):
            return None
        if self._total >= self._max_connections:
            refusal = self._refusal(host)
            if refusal is not None:  # Do not evict a client for one that is refused anyway.
                return refusal
            if not make_room():
                return Refusal.OVER_LIMIT
        refusal = self.identify(host)
        if refusal is None:
            self._total += 1
        return refusal

    def identify(self, host: str) -> Refusal | None:
        """Count the peer of a connection admitted as unknown, or return why it is refused.

        Call `leave` with this host later, or with the empty one after a refusal.
        """
        if not host or not (self._max_per_peer or self._rate):
            return None
        if self._is_over_share(host):
            return Refusal.OVER_IP_LIMIT
        network = self._network(host)
        count = self._per_peer.get(network, 0)
        if self._rate and not self._rate.spend(network, self._clock()):
            return Refusal.RATE_LIMITED
        self._per_peer[network] = count + 1
        return None

    def _refusal(self, host: str) -> Refusal | None:
        """Return what `identify` would return, without counting."""
        if self._is_over_share(host):
            return Refusal.OVER_IP_LIMIT
        if host and self._rate and not self._rate.has_token(self._network(host), self._clock()):
            return Refusal.RATE_LIMITED
        return None

    def _is_over_share(self, host: str) -> bool:
        limit = self._max_per_peer
        return bool(limit and host) and self._per_peer.get(self._network(host), 0) >= limit

    def leave(self, host: str, port: int) -> None:
        """Stop counting one admitted connection."""
        if self._probes and (host, port) in self._probes:
            self._probes.remove((host, port))
            return
        self._total -= 1
        if not self._per_peer or not host:
            return
        network = self._network(host)
        count = self._per_peer.get(network, 0)
        if count > 1:
            self._per_peer[network] = count - 1
        else:
            self._per_peer.pop(network, None)

    def expect_probe(self, port: int) -> None:
        """Exempt the next loopback connection from this source port, if it comes within 10 s."""
        now = self._clock()
        self._expected = {p: until for p, until in self._expected.items() if until >= now}
        self._expected.pop(port, None)
        if len(self._expected) >= _MAX_PROBES:
            del self._expected[next(iter(self._expected))]
        self._expected[port] = now + _PROBE_SECONDS

    def is_expected(self, host: str, port: int) -> bool:
        """Return whether a new connection was announced as a health probe."""
        return port in self._expected and _is_loopback(host)

    def is_probe(self, host: str, port: int) -> bool:
        """Return whether an admitted connection is a health probe."""
        return bool(self._probes) and (host, port) in self._probes

    def _admit_probe(self, host: str, port: int) -> bool:
        if not self.is_expected(host, port):
            return False
        if self._expected.pop(port) < self._clock() or len(self._probes) >= _MAX_PROBES:
            return False
        self._probes.add((host, port))
        return True


class _Rate:
    """A token bucket per peer, stored as the time when the bucket will be full again.

    A full bucket is dropped: each call drops up to two, least recently used first. At the limit of
    peers, the least recently used bucket is dropped too, which favours its peer.
    """

    __slots__ = ("_burst", "_full_at", "_interval")

    def __init__(self, per_minute: int) -> None:
        self._interval = _RATE_WINDOW_SECONDS / per_minute
        # Slightly more than the window, so that rounding does not cost a peer its last token.
        self._burst = _RATE_WINDOW_SECONDS * (1 + 1e-9)
        self._full_at: dict[str, float] = {}

    def has_token(self, peer: str, now: float) -> bool:
        return self._full_after(self._full_at.get(peer, now), now) - now <= self._burst

    def spend(self, peer: str, now: float) -> bool:
        self._drop_idle(now)
        full_at = self._full_after(self._full_at.pop(peer, now), now)
        allowed = full_at - now <= self._burst
        self._full_at[peer] = full_at if allowed else full_at - self._interval
        return allowed

    def _full_after(self, full_at: float, now: float) -> float:
        """Return when a bucket will be full again if one more token is spent."""
        return max(full_at, now) + self._interval

    def _drop_idle(self, now: float) -> None:
        for peer in list(islice(self._full_at, 2)):
            if self._full_at[peer] <= now:
                del self._full_at[peer]
        if len(self._full_at) >= _MAX_RATED_PEERS:
            del self._full_at[next(iter(self._full_at))]
