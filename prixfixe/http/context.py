"""What the HTTP paths need of the server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from prixfixe.faults.registry import Faults
    from prixfixe.mail.message import IdSource
    from prixfixe.smtp.offer import Offer
    from prixfixe.stores.arrivals import Arrivals
    from prixfixe.stores.base import Reader, Store
    from prixfixe.stores.index import Index
    from prixfixe.telemetry.attempts import Attempts
    from prixfixe.telemetry.metrics import Metrics
    from prixfixe.telemetry.readiness import Readiness
    from prixfixe.telemetry.sessions import OpenSession

__all__ = ["HttpContext"]


@dataclass(frozen=True, slots=True)
class HttpContext:
    """What the paths need of the server; `open_reader` is called in the reading thread.

    `smtp` is the address of the SMTP listener.
    """

    store: Store
    open_reader: Callable[[], Reader]
    metrics: Metrics
    arrivals: Arrivals
    readiness: Readiness
    expect_probe: Callable[[int], None]
    token: str | None
    hosts: tuple[str, ...]
    version: str
    store_url: str
    attempts: Attempts
    offer: Offer
    ids: IdSource
    sessions: Callable[[], list[OpenSession]]
    smtp: str
    index: Index | None = None
    faults: Faults | None = None
    has_page: bool = True

    @property
    def store_kind(self) -> str:
        """What kind of store it is, not where."""
        return self.store_url.partition(":")[0]
