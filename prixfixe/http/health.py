"""Health and metrics over HTTP.

Owns: `/livez`, `/readyz`, `/metrics`.
Promises: liveness asks nothing but the loop; readiness and a scrape run every check; a search that
takes long delays neither.
Refuses: the checks themselves (see `readiness`).
"""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from starlette.responses import Response

from prixfixe.http.answers import Json
from prixfixe.stores.base import StoreError, StoreOpenError

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from prixfixe.http.mailbox import Mailbox
    from prixfixe.http.server import HttpContext

__all__ = ["Health"]

TOTALS_SECONDS = 2.0  # to wait for a long search; then the last totals are repeated

T = TypeVar("T")


class Health:
    """Alive, ready, and the counts."""

    def __init__(self, context: HttpContext, mailbox: Mailbox) -> None:
        self._context = context
        self._mailbox = mailbox

    async def live(self, _request: Request) -> Response:
        """Answer: that is the proof."""
        return Json({"status": "ok"})

    async def ready(self, request: Request) -> Response:
        """Report every condition; a probe on this machine announces its port here."""
        port = request.query_params.get("probe", "")
        if port.isdecimal() and len(port) <= 5 and _is_local(request):
            self._context.expect_probe(int(port))
        results = await self._context.readiness.check()
        is_ready = all(result.is_ok for result in results.values())
        told = results | self._context.readiness.notes()
        checks = {
            name: {"ok": result.is_ok, "detail": result.detail} for name, result in told.items()
        }
        status = "ready" if is_ready else "not ready"
        who = {"version": self._context.version, "store": self._context.store_kind}
        return Json({"status": status, **who, "checks": checks}, 200 if is_ready else 503)

    async def metrics(self, request: Request) -> Response:
        """Return the counts."""
        metrics, accept = self._context.metrics, request.headers.get("accept")
        await self._context.readiness.check()
        with contextlib.suppress(StoreError, StoreOpenError, TimeoutError):
            async with asyncio.timeout(TOTALS_SECONDS):
                metrics.totals = await self._mailbox.totals()
        page, kind = await _beside_the_loop(partial(metrics.exposition, accept))
        return Response(page, headers={"Content-Type": kind})


async def _beside_the_loop(work: Callable[[], T]) -> T:
    """Work in a thread, or in the loop where the process may start no more threads."""
    try:
        return await asyncio.get_running_loop().run_in_executor(None, work)
    except RuntimeError:
        return work()


def _is_local(request: Request) -> bool:
    host = request.client.host if request.client else ""
    return host.removeprefix("::ffff:").startswith("127.") or host == "::1"
