"""The metrics of one server, as plain numbers.

An update takes no lock and raises nothing. A label value that is not in the table is counted in
`prixfixe_metrics_defects_total`. Every series exists from the start, at 0.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from prixfixe.telemetry.events import MECHANISMS
from prixfixe.telemetry.metrics_series import Histogram, Series, empty_series
from prixfixe.telemetry.metrics_table import CODES, TABLE, VERBS

if TYPE_CHECKING:
    from collections.abc import Callable

    from prixfixe.mail.message import Message
    from prixfixe.stores.base import Probe, Recovery, Totals

__all__ = ["Handled", "Metrics"]

_Key = tuple[str, ...]


class Handled(NamedTuple):
    """What became of messages since the start: counts, and the body bytes of accepted ones."""

    accepted: int
    accepted_bytes: int
    refused: int
    pruned: int


class Metrics:
    """The counts of one server.

    `totals`, `space`, `min_free`, `inflight` (used, limit, waiting), `not_after` and `ready` are
    set by other parts of the server. Gauges without a value are omitted.
    """

    def __init__(self, *, version: str, revision: str, store: str, max_connections: int) -> None:
        backend = store.partition(":")[0]
        self._series = {spec.name: empty_series(spec, backend) for spec in TABLE}
        self._backend = backend
        self._build = (version, revision, backend, sys.version.split()[0])
        self._max_connections = max_connections
        # By verb, then code: smtp_commands and smtp_replies are sums over it.
        self.replies: defaultdict[str, defaultdict[int, int]] = defaultdict(_counter)
        self._messages = self._series["messages"].counts
        self._log_records = self._series["log_records"].counts
        self._accepted = (
            self._histogram("message_size_bytes"),
            self._histogram("message_recipients"),
            self._histogram("message_receive_duration_seconds"),
            self._histogram("message_ack_duration_seconds"),
        )
        self._lag = self._histogram("event_loop_lag_seconds")
        self.active = {"smtp": 0, "smtps": 0}
        self.ready: dict[str, bool] = {}
        self.draining = False
        self.last_accepted = 0.0
        self.not_after: float | None = None
        self.totals: Totals | None = None
        self.space: Probe | None = None
        self.replicas: tuple[int, int] | None = None
        self.inflight: Callable[[], tuple[int, int, int]] | None = None
        self.min_free: int | None = None

    def _histogram(self, name: str) -> Histogram:
        return self._series[name].histograms[()]

    def _count(self, name: str, key: _Key, amount: int = 1) -> None:
        try:
            self._series[name].counts[key] += amount
        except KeyError:
            self._series["metrics_defects"].counts[()] += 1

    def _observe(self, name: str, key: _Key, value: float) -> None:
        histogram = self._series[name].histograms.get(key)
        if histogram is None:
            self._series["metrics_defects"].counts[()] += 1
        else:
            histogram.observe(value)

    # Connections and sessions

    def connection(self, listener: str, result: str) -> None:
        """Count a connection by its result."""
        self._count("smtp_connections", (listener, result))

    def connection_opened(self, listener: str) -> None:
        """Add one active session."""
        self.active[listener] += 1

    def connection_closed(self, listener: str) -> None:
        """Subtract one active session."""
        self.active[listener] -= 1

    def session_ended(self, end: str, seconds: float) -> None:
        """Record how a session ended and how long it lasted."""
        self._observe("smtp_session_duration_seconds", (end,), seconds)

    def limit(self, name: str) -> None:
        """Count one limit that a session met."""
        self._count("smtp_limits", (name,))

    # Commands and messages: the hot path

    def message(self, listener: str, result: str, reason: str) -> None:
        """Count one message that was not accepted, by result and reason."""
        self._count("messages", (listener, result, reason))

    def accepted(
        self, listener: str, message: Message, receive_seconds: float, ack_seconds: float
    ) -> None:
        """Record one accepted message in all its series."""
        self._messages[listener, "accepted", "none"] += 1
        sizes, numbers, receiving, answering = self._accepted
        sizes.observe(len(message.body))
        numbers.observe(len(message.envelope.recipients))
        receiving.observe(receive_seconds)
        answering.observe(ack_seconds)
        self.last_accepted = message.received_at

    # Store

    def store_operation(self, op: str, seconds: float, result: str) -> None:
        """Record one store operation; `result` is ok or the kind of its `StoreError`."""
        key = (self._backend, op, "ok" if result == "ok" else "error")
        self._observe("store_operation_duration_seconds", key, seconds)

    def store_error(self, kind: str) -> None:
        """Count one message that could not be stored, by the kind of its `StoreError`."""
        self._count("store_errors", (self._backend, kind))

    def recovered(self, recovery: Recovery) -> None:
        """Record the messages that were recovered when the store was opened."""
        for outcome in ("complete", "discarded_partial", "quarantined"):
            self._count("store_recovered", (outcome,), getattr(recovery, outcome))

    def store_retry(self, kind: str) -> None:
        """Count one group of messages tried again message by message."""
        self._count("store_retries", (self._backend, kind))

    def pruned(self, messages: int) -> None:
        """Count messages deleted by retention."""
        self._count("store_pruned", (self._backend,), messages)

    def lost(self, messages: int) -> None:
        """Count acknowledged messages that a new primary lacks."""
        self._count("store_lost", (self._backend,), messages)

    def measured(self, space: Probe) -> None:
        """Set the latest sizes of the store's file system."""
        self.space = space

    def replicated(self, count: int, lag: int) -> None:
        """Set how many replicas the store has, and how many bytes the last of them is behind."""
        self.replicas = (count, lag)

    # TLS, AUTH, the process

    def tls_handshake(self, mode: str, version: str | None, result: str) -> None:
        """Count one handshake; `version` is the ssl module's name."""
        named = version if version in ("TLSv1.2", "TLSv1.3") else "none"
        self._count("tls_handshakes", (mode, named, result))

    def reload(self, what: str, result: str) -> None:
        """Count one reload: of tls (the certificate pair) or auth (the users); ok or error."""
        self._count(f"{what}_reloads", (result,))

    def auth_attempt(self, mechanism: str, result: str) -> None:
        """Count one AUTH exchange; a mechanism that is not offered counts as other."""
        self._count("auth_attempts", (mechanism if mechanism in MECHANISMS else "other", result))

    def http_connection(self, result: str) -> None:
        """Count one HTTP connection: accepted, replaced by a newcomer, or timeout."""
        self._count("http_connections", (result,))

    def loop_lag(self, seconds: float) -> None:
        """Record how late the event loop ran a timer."""
        self._lag.observe(seconds)

    def log_record(self, level: str) -> None:
        """Count one log record by level."""
        try:
            self._log_records[level,] += 1
        except KeyError:
            self._series["metrics_defects"].counts[()] += 1

    def log_dropped(self, count: int) -> None:
        """Count log records that were dropped, from any thread."""
        self._count("log_records_dropped", (), count)

    # Reading

    def handled(self) -> Handled:
        """Return what became of messages since the start."""
        by_result: defaultdict[str, float] = defaultdict(float)
        for (_listener, result, _reason), count in self._messages.items():
            by_result[result] += count
        return Handled(
            accepted=int(by_result["accepted"]),
            accepted_bytes=int(self._accepted[0].sum),
            refused=int(by_result["rejected"] + by_result["deferred"]),
            pruned=int(sum(self._series["store_pruned"].counts.values())),
        )

    def series(self) -> dict[str, Series]:
        """Return the current values of all series.

        Scrapes may overlap in several threads, so computed series are new each time.
        """
        fresh = {**self._gauges(), **self._sums()}
        return self._series | {name: Series(values, {}) for name, values in fresh.items()}

    def _sums(self) -> dict[str, dict[_Key, float]]:
        classes = dict.fromkeys(self._series["smtp_commands"].counts, 0.0)
        replies = dict.fromkeys(self._series["smtp_replies"].counts, 0.0)
        # Copy first: the event loop continues to count while this runs in a thread.
        for verb, codes in self.replies.copy().items():
            for code, count in codes.copy().items():
                replies[(str(code) if code in CODES else "other",)] += count
                if code in CODES:
                    classes[verb if verb in VERBS else "OTHER", f"{code // 100}xx"] += count
        return {"smtp_commands": classes, "smtp_replies": replies}

    def _gauges(self) -> dict[str, dict[_Key, float]]:
        totals, space, backend = self.totals, self.space, (self._backend,)
        used, limit, waiting = self.inflight() if self.inflight else (0, 0, 0)
        return {
            "build_info": {self._build: 1},
            "smtp_connections_active": {(name,): count for name, count in self.active.items()},
            "smtp_connections_limit": {(): self._max_connections},
            "inflight_bytes": {(): used},
            "inflight_limit_bytes": {(): limit},
            "inflight_waiting": {(): waiting},
            "tls_certificate_not_after_timestamp_seconds": _known((), self.not_after),
            "ready": {(name,): float(ok) for name, ok in self.ready.copy().items()},
            "draining": {(): float(self.draining)},
            "last_accepted_timestamp_seconds": {(): self.last_accepted},
            "store_messages": _known(backend, totals and totals.messages),
            "store_bytes": _known(backend, totals and totals.bytes),
            "store_free_bytes": _known(backend, space and space.free_bytes),
            "store_size_bytes": _known(backend, space and space.size_bytes),
            "store_min_free_bytes": _known(backend, space and space.size_bytes and self.min_free),
            "store_free_inodes": _known(backend, space and space.free_inodes),
            "store_standbys": _known(backend, self.replicas and self.replicas[0]),
            "store_standby_lag_bytes": _known(backend, self.replicas and self.replicas[1]),
        }

    def exposition(self, accept: str | None) -> tuple[bytes, str]:
        """Return the page for a scrape and its content type; it may block, so use a thread."""
        from prixfixe.telemetry.metrics_page import expose

        return expose(self.series(), accept)


def _counter() -> defaultdict[int, int]:
    return defaultdict(int)


def _known(key: _Key, value: float | None) -> dict[_Key, float]:
    """Return one sample, or none if the value is unknown: a guess could set off alerts."""
    return {} if value is None else {key: value}
