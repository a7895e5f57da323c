"""Is the server ready for mail? Each condition, checked for real.

Owns: the checks behind `/readyz`: listeners, TLS pair, store, draining.
Promises: the store is proven by a write, at most every few seconds and after each message it
failed; a store that does not answer in time is not ready; the kernel is asked whether listeners
listen; the last verdicts feed the `prixfixe_ready` metric.
Refuses: load. A busy server is ready, or its neighbours would get its share too.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from prixfixe.stores.base import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from prixfixe.stores.base import Store
    from prixfixe.telemetry.metrics import Metrics

__all__ = ["CheckResult", "Readiness"]

FRESH_SECONDS = 5.0  # a probe's verdict is repeated this long
ANSWER_SECONDS = 4.0  # below the timeout of a health check


class CheckResult(NamedTuple):
    """One condition: whether it holds, and what there is to say."""

    is_ok: bool
    detail: str = "ok"


class Readiness:
    """The conditions of one server."""

    def __init__(self, store: Store, metrics: Metrics, clock: Callable[[], float]) -> None:
        self._store = store
        self._metrics = metrics
        self._clock = clock
        self._checks: dict[str, Callable[[], CheckResult]] = {}
        self._verdict = CheckResult(is_ok=False, detail="not probed yet")
        self._probed_at = float("-inf")
        self._probing: asyncio.Task[None] | None = None

    def add(self, name: str, check: Callable[[], CheckResult]) -> None:
        """Take a further condition."""
        self._checks[name] = check

    def invalidate(self) -> None:
        """Forget the last verdict: the store just failed a message."""
        self._probed_at = float("-inf")

    async def check(self) -> dict[str, CheckResult]:
        """Return every condition as of now."""
        results = {name: check() for name, check in self._checks.items()}
        results["store"] = await self._store_check()
        self._metrics.ready.update({name: result.is_ok for name, result in results.items()})
        return results

    async def _store_check(self) -> CheckResult:
        """Ask the store, once for all who ask at the same time."""
        if self._clock() - self._probed_at >= FRESH_SECONDS or not self._verdict.is_ok:
            if self._probing is None or self._probing.done():
                self._probing = asyncio.ensure_future(self._probe())
            done, _ = await asyncio.wait({self._probing}, timeout=ANSWER_SECONDS)
            if not done:
                return CheckResult(is_ok=False, detail="the store does not answer")
        return self._verdict

    async def _probe(self) -> None:
        try:
            await self._store.probe()
            self._verdict = CheckResult(is_ok=True)
        except StoreError as error:
            detail = "no room" if error.is_full else "a write failed"
            self._verdict = CheckResult(is_ok=False, detail=detail)
        self._probed_at = self._clock()
