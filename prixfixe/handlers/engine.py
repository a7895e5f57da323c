"""A server without store, HTTP and settings: the engine of a controller.

Its terms are those of an SMTP object of aiosmtpd, which the controller's `factory` makes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from ipaddress import ip_network
from typing import TYPE_CHECKING, Final

from prixfixe import __version__
from prixfixe.connection.connection import Connection
from prixfixe.connection.reply_batch import ReplyBatch
from prixfixe.connection.roster import Roster
from prixfixe.connection.services import Services, session_ids
from prixfixe.connection.turns import Turns
from prixfixe.handlers.hooks import HookTable
from prixfixe.handlers.opening import HandlerHooks
from prixfixe.handlers.paths import read_path
from prixfixe.limits.admission import Admission
from prixfixe.limits.memory import Budget
from prixfixe.limits.timing import Limits, Shedding
from prixfixe.mail.message import IdSource
from prixfixe.smtp import replies
from prixfixe.smtp.offer import Offer, Wording
from prixfixe.stores.arrivals import Arrivals
from prixfixe.stores.base import StoreOptions
from prixfixe.stores.discard import DiscardStore
from prixfixe.telemetry.attempts import Attempts
from prixfixe.telemetry.log import build_log
from prixfixe.telemetry.metrics import Metrics

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from aiosmtpd.smtp import SMTP

__all__ = ["MAX_CONNECTIONS", "MAX_SIZE", "Engine"]

MAX_CONNECTIONS: Final = 1000
CLOSE_SECONDS: Final = 2.0
MAX_SIZE: Final = 2**30  # of a message in bytes, where aiosmtpd has no limit
_INFLIGHT: Final = 2**28
_STUFFED: Final = 2  # a body may be so many times as large while its dots are stuffed
# aiosmtpd's codes where a client cannot tell the difference, or where the RFCs list both.
_WORDING = Wording(
    parameter_after_helo=replies.BAD_PARAMETER,
    long_line=replies.DATA_LINE_TOO_LONG,
    no_tls=replies.TLS_NOT_AVAILABLE,
)
_LOGGER = "mail.log"  # aiosmtpd's
_ALL = (ip_network("0.0.0.0/0"), ip_network("::/0"))


class _LogStream:
    """Lines of the log, passed on to aiosmtpd's logger."""

    def write(self, text: str) -> int:
        """Log whole lines."""
        logging.getLogger(_LOGGER).error("%s", text.rstrip("\n"))
        return len(text)

    def flush(self) -> None:
        """Do nothing: nothing is held."""

    def isatty(self) -> bool:
        """Return False."""
        return False


class _Given:
    """The TLS context that the controller was given."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.context = context


class Engine:
    """What the connections of one controller share, on a loop that may not run yet."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._log = build_log("warning", "text", stream=_LogStream())
        self._metrics = Metrics(
            version=__version__,
            revision="unknown",
            store="discard:",
            max_connections=MAX_CONNECTIONS,
        )
        self._admission = Admission(MAX_CONNECTIONS, clock=loop.time)
        self._budget = Budget(_INFLIGHT, _INFLIGHT)
        self._roster = Roster(2 * MAX_CONNECTIONS, math.inf)
        self._ids = session_ids()
        self._message_ids = IdSource()
        self._attempts = Attempts(self._message_ids)
        self._reply_batch = ReplyBatch(loop)
        self._turns = Turns(loop)

    def protocol_of(self, template: SMTP) -> Callable[[], Connection]:
        """Return what makes a connection on the terms of this SMTP object.

        Raises:
            UnsupportedError: the object needs what is not offered; the text names it.

        """
        offer = offer_of(template)
        services = self._services(template, offer)
        return lambda: Connection(services, offer, "smtp")

    def _services(self, template: SMTP, offer: Offer) -> Services:
        seconds = float(template._timeout_duration)  # noqa: SLF001 - it has no other name
        table = HookTable(template, self._log, seconds, is_alone=True)
        offer.mechanisms = tuple(sorted(table.mechanisms))
        offer.refresh()
        proxy_seconds = template._proxy_timeout  # noqa: SLF001
        needed = offer.max_message_size * _STUFFED
        return Services(
            loop=self._loop,
            store=DiscardStore(StoreOptions()),
            metrics=self._metrics,
            arrivals=Arrivals(),
            admission=self._admission,
            budget=self._budget if needed <= _INFLIGHT else Budget(needed, needed),
            roster=self._roster,
            ids=self._message_ids,
            session_ids=self._ids,
            reply_batch=self._reply_batch,
            turns=self._turns,
            log=self._log,
            limits=Limits(seconds, math.inf, 0, seconds),
            shedding=Shedding(0),
            invalidate=_nothing,
            attempts=self._attempts,
            certificates=_Given(template.tls_context) if template.tls_context else None,
            proxy_networks=_ALL if proxy_seconds is not None else (),
            header_seconds=proxy_seconds or 0.0,
            is_silent_to_proxies=True,
            hooks=HandlerHooks(table),
        )

    async def close(self) -> None:
        """Tell all clients 421 and close; abort the connections that cannot be closed at once."""
        self._roster.drain()
        await asyncio.sleep(0)  # so that what is written is sent
        self._roster.abort()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._roster.is_empty.wait(), CLOSE_SECONDS)
        await asyncio.sleep(0)  # for the loop to close the sockets


def _nothing() -> None:
    """Do nothing: there is no readiness."""


def offer_of(template: SMTP) -> Offer:
    """Return the offer of a server with the settings of this SMTP object."""
    limit = template.data_size_limit
    return Offer(
        domain=template.hostname,
        ident=template.__ident__,
        max_message_size=limit or MAX_SIZE,
        announces_size=bool(limit),
        offers_utf8=template.enable_SMTPUTF8,
        is_strict=True,
        read_path=read_path,
        wording=_WORDING,
        offers_tls=template.tls_context is not None,
        requires_tls=bool(template.require_starttls),
        offers_auth=True,
        requires_auth=template._auth_required,  # noqa: SLF001
        allows_clear_auth=not template._auth_require_tls,  # noqa: SLF001
    )
