"""One flood on one server: warm up, flood, ask as honest clients, measure, wait for the end of it.

What it leaves is a record of figures with an id and a source; `judge` says which promises it
breaks. Nothing here knows of the test runner.
"""

import json
import time
from statistics import median

from tests.floods.honest import Honest, Waits
from tests.floods.memory import MIB, allowed
from tests.floods.table import BIG_OCTETS, BIGS, PROXY, UTF8, WIDE_RCPTS

__all__ = ["HTTP_SECONDS", "SMTP_SECONDS", "Flooded", "judge"]

LIVEZ_SECONDS = 0.25
HTTP_SECONDS = 0.25  # an answer to an honest client of SMTP during a flood of HTTP
SMTP_SECONDS = 0.5  # and during one of SMTP
SETTLE_SECONDS = 45.0  # more than any clock of a connection whose client has gone
BETWEEN_SECONDS = 0.05
ATTEMPTS = 1000  # as many as are remembered
ATTEMPTS = 5  # of which the best is judged where a time is: machines may be busy
ZERO = ("prixfixe_inflight_bytes", "prixfixe_inflight_waiting")
ACTIVE = "prixfixe_smtp_connections_active"
_LISTENER = {"starttls": "smtp", "proxy": "smtp", "faults": "smtp", "faults-http": "http"}


class Flooded:
    """A server that floods are played on, one after the other."""

    def __init__(self, server, *, is_proxied=False):
        self.server = server
        preface = PROXY[0].encode() if is_proxied else b""
        self.honest = Honest(
            server.address("smtp"), server.address("http"), preface, server.stalled
        )
        self._bigs = []  # the ids of messages that large answers are made of
        self._has_attempts = False
        for _ in range(3):
            self.honest.stock(200)
        for path in ("/api/v1/messages?limit=1", "/api/v1/search?query=x", "/metrics", "/readyz"):
            self.honest.get(path)

    def play(self, flood, seconds=None):
        """Play a flood, up to ATTEMPTS times where an answer comes late; return its record."""
        records = [self._played(flood, seconds)]
        while len(records) < ATTEMPTS and _is_late_only(records[-1]):
            records.append(self._played(flood, seconds))
        others = [one for one in records if not _is_late_only(one)]
        return min(others or records, key=_lateness) | {"attempts": len(records)}

    def _played(self, flood, seconds):
        if flood.needs_big and not self._bigs:
            self._bigs = [self.honest.stock(BIG_OCTETS) for _ in range(BIGS)]
        if flood.needs_attempts and not self._has_attempts:
            self.honest.fill_attempts(UTF8[0] + WIDE_RCPTS[0], ATTEMPTS)
            self._has_attempts = True
        self.server.reset_peak()
        before = self.server.vitals()
        waits, counts = self._flood(flood, seconds or flood.seconds)
        record = self._record(flood, before, waits, counts)
        record["died"] = self.server.died_of()
        if not record["died"]:
            self._afterwards(record, before)
        return record

    def _flood(self, flood, seconds):
        """Run the driver and be honest beside it."""
        spec = {**flood._asdict(), "seconds": seconds, "tls": flood.is_tls, "bigs": self._bigs}
        spec["address"] = self.server.inner(_LISTENER.get(flood.port, flood.port))
        waits, driving = Waits(), self.server.drive(json.dumps(spec))
        while driving.is_running() and self.server.is_running:
            self.honest.ask_livez(waits)
            self.honest.visit(waits)
            time.sleep(BETWEEN_SECONDS)
        counts = {}
        for line in driving.output().splitlines():
            counts |= json.loads(line)
        return waits, counts

    def _record(self, flood, before, waits, counts):
        environ = self.server.environ
        return {
            **{name: getattr(flood, name) for name in ("id", "source", "port", "kind", "what")},
            "connections": flood.connections,
            "attempts": 1,
            **counts,
            "rss_before_mib": _mib(before.rss),
            "allowed_mib": _mib(allowed(environ, flood, before.rss)),
            "worst_ms": _ms(max, waits.smtp),
            "median_ms": _ms(median, waits.smtp),
            "livez_worst_ms": _ms(max, waits.livez),
            "livez_median_ms": _ms(median, waits.livez),
            "machine_ms": round(waits.machine * 1000, 1),
            "failures": waits.failures[:5],
            "answers": len(waits.smtp),
        }

    def _afterwards(self, record, before):
        """Wait until the server is back where it was, and read back what it acknowledged."""
        began = time.monotonic()
        while (left := self._left(before)) and time.monotonic() < began + SETTLE_SECONDS:
            time.sleep(0.1)
        record["settled_seconds"] = round(time.monotonic() - began, 1)
        after = self.server.vitals()
        record["left"] = left
        record["rss_peak_mib"], record["rss_after_mib"] = _mib(after.peak), _mib(after.rss)
        record["threads"] = after.threads
        lost = self.honest.lost()
        record["acknowledged"], record["lost"] = len(self.honest.acknowledged), len(lost)
        record["is_ready"] = self.honest.is_ready()
        record["errors"] = self.server.log().count("Traceback")

    def _left(self, before):
        """Return what is not back where it was."""
        try:
            counted = self.honest.counted()
        except OSError as error:
            return [f"/metrics: {error!r}"]
        left = [f"{name}={counted[name]:g}" for name in ZERO if counted.get(name)]
        active = sum(value for name, value in counted.items() if name.startswith(ACTIVE))
        left += [f"sessions={active:g}"] if active else []
        now = self.server.vitals()
        # One descriptor is of the connection that asked for the metrics.
        return left + ([f"descriptors={now.fds}>{before.fds}"] if now.fds > before.fds + 1 else [])


def judge(record):
    """Return which promises a record breaks, one text each."""
    if record["died"]:
        return [f"the server {record['died']}"]
    faults = [f"an honest client: {one}" for one in record["failures"]]
    faults += late(record)
    if record["rss_peak_mib"] > record["allowed_mib"]:
        faults.append(f"memory: {record['rss_peak_mib']} MiB, allowed {record['allowed_mib']}")
    if record["lost"]:
        faults.append(f"lost: {record['lost']} of {record['acknowledged']} acknowledged messages")
    if record["left"]:
        faults.append(f"left behind: {', '.join(record['left'])}")
    if not record["is_ready"]:
        faults.append("not ready after the flood")
    if record["errors"]:
        faults.append(f"{record['errors']} tracebacks in the log")
    if not record.get("inside"):
        faults.append("no connection of the flood got as far as flooding")
    return faults


def late(record):
    """Return which answers were too late."""
    bound = (HTTP_SECONDS if "http" in record["port"] else SMTP_SECONDS) * 1000
    waits = {
        "mail": (record["worst_ms"], bound),
        "livez": (record["livez_worst_ms"], LIVEZ_SECONDS * 1000),
    }
    return [
        f"{name} was answered after {worst} ms, allowed {most:g}"
        for name, (worst, most) in waits.items()
        if worst is None or worst > most
    ]


def _is_late_only(record):
    """Whether another attempt may tell more: a busy machine makes answers late, and nothing else."""
    faults = judge(record)
    return bool(faults) and faults == late(record) if not record["died"] else False


def _lateness(record):
    return (record["worst_ms"] or 1e9) + (record["livez_worst_ms"] or 1e9)


def _mib(octets):
    return round(octets / MIB, 1)


def _ms(function, seconds):
    return round(function(seconds) * 1000, 1) if seconds else None
