"""`/livez`, `/readyz` and `/metrics`.

Liveness needs the event loop only. A long search delays none of them, and concurrent scrapes share
one page.
"""

from __future__ import annotations

import asyncio
import contextlib
from email.utils import formatdate
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from starlette.responses import Response

from prixfixe.http.responses import Json
from prixfixe.stores.base import StoreError, StoreOpenError

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from prixfixe.http.api.mailbox import Mailbox
    from prixfixe.http.context import HttpContext

__all__ = ["Health"]

TOTALS_SECONDS = 2.0  # to wait for a long search; then the last totals are repeated

T = TypeVar("T")


class Health:
    """Alive, ready, and the counts."""

    def __init__(self, context: HttpContext, mailbox: Mailbox) -> None:
        self._context = context
        self._mailbox = mailbox
        self._pages: dict[str, asyncio.Task[tuple[bytes, str]]] = {}
        self._one_page = asyncio.Lock()

    async def live(self, _request: Request) -> Response:
        """Answer: that is the proof. Clients of Mailpit compare clocks by `Date`."""
        return Json({"status": "ok"}, headers={"Date": formatdate(usegmt=True)})

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
        accept = request.headers.get("accept", "")
        page = self._pages.get(accept)
        if page is None:
            page = self._pages[accept] = asyncio.create_task(self._page(accept))
            page.add_done_callback(lambda _: self._pages.pop(accept))
        octets, kind = await asyncio.shield(page)
        return Response(octets, headers={"Content-Type": kind})

    async def _page(self, accept: str) -> tuple[bytes, str]:
        """Make a page for all who ask for it meanwhile; each takes a thread, so one at a time."""
        metrics = self._context.metrics
        async with self._one_page:
            await self._context.readiness.check()
            with contextlib.suppress(StoreError, StoreOpenError, TimeoutError):
                async with asyncio.timeout(TOTALS_SECONDS):
                    metrics.totals = await self._mailbox.totals()
            return await _beside_the_loop(partial(metrics.exposition, accept))


async def _beside_the_loop(work: Callable[[], T]) -> T:
    """Work in a thread, or in the loop where the process may start no more threads."""
    try:
        return await asyncio.get_running_loop().run_in_executor(None, work)
    except RuntimeError:
        return work()


def _is_local(request: Request) -> bool:
    host = request.client.host if request.client else ""
    return host.removeprefix("::ffff:").startswith("127.") or host == "::1"
