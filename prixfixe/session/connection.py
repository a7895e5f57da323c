"""One client's connection: who may come in, and what a dialogue asks of the world.

Owns: admission, the PROXY header, the TLS handshake, checks of credentials, the account of a
session when it ends.
Promises: what was counted at the door is given back once, however the session ends; what came in
clear is forgotten at the handshake and nothing after it is.
Refuses: SMTP (see `dialogue`), the transport's events (see `link`), stores (see `delivery`).
"""

from __future__ import annotations

import asyncio
import ssl
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

from aiosmtpd.proxy_protocol import get_proxy

from prixfixe import replies
from prixfixe.auth import Verdict
from prixfixe.session.delivery import Delivery
from prixfixe.session.dialogue import Dialogue
from prixfixe.session.link import Link
from prixfixe.tls import describe

if TYPE_CHECKING:
    from prixfixe.message import Envelope
    from prixfixe.replies import Reply
    from prixfixe.session.context import Context
    from prixfixe.session.sasl import Credentials
    from prixfixe.session.terms import Terms

__all__ = ["Connection"]

HANDSHAKE_SECONDS: Final = 30.0
PROXY_OCTETS: Final = 536  # the longest PROXY v2 header a balancer sends; v1 is at most 107
_AUTH_REPLIES: Final = {
    Verdict.ACCEPTED: replies.AUTHENTICATED,
    Verdict.REJECTED: replies.BAD_CREDENTIALS,
    Verdict.UNAVAILABLE: replies.AUTH_UNAVAILABLE,
    Verdict.BLOCKED: replies.TOO_MANY_FAILED_LOGINS,
}


class Connection(Link):
    """One client's connection, made by the listener's factory."""

    def __init__(self, context: Context, terms: Terms, listener: str) -> None:
        super().__init__(context)
        self.listener = listener
        self.dialogue = Dialogue(terms, self, context.loop.time, context.metrics.command)
        self._delivery = Delivery(context, self.dialogue, listener, self._answered)
        self._opened_at = 0.0
        self._peer = ("", 0)
        self._counted: tuple[str, int] | None = None  # as the admission knows it, once it does
        self._is_welcome = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Admit the peer, then greet it, or read its PROXY header first.

        On the implicit-TLS listener the handshake is over by now, and no PROXY header is read: it
        would have come before the handshake.
        """
        context = self.context
        self.transport = transport
        self.session = self._create_session()
        self._opened_at = self._active_at = self.loop.time()
        self._set_peer(transport.get_extra_info("peername"))
        context.sessions.add(self)
        if context.is_draining:
            self._refuse("draining", replies.SHUTTING_DOWN)
            return
        expects_proxy = self._expects_proxy()
        host, port = ("", 0) if expects_proxy else self._peer
        refusal = context.admission.admit(host, port)
        if refusal is not None:
            self._refuse_admission(refusal.value)
            return
        self._counted = (host, port)
        self._timer = self.loop.call_later(context.timeout, self._check_idle)
        if expects_proxy:
            # Made here, not in the task: the header may come before the task's first turn.
            self._proxy_reader = asyncio.StreamReader(limit=PROXY_OCTETS, loop=self.loop)
            self._start(self._read_proxy_header(self._proxy_reader))
        else:
            self._welcome()

    def left(self, error: Exception | None) -> None:
        """Forget the connection; a message being kept is not disturbed."""
        context = self.context
        context.sessions.discard(self)
        if context.is_draining and not context.sessions:
            context.no_sessions.set()
        self.end = self.end or ("error" if error else "eof")
        self.dialogue.end()
        if self._counted is not None:
            self._leave(self._counted)

    def _leave(self, counted: tuple[str, int]) -> None:
        context = self.context
        is_probe = context.admission.is_probe(*counted)
        context.admission.leave(*counted)
        if self._is_welcome:
            context.metrics.connection_closed(self.listener)
        if is_probe or not self._is_welcome:
            return
        seconds = self.loop.time() - self._opened_at
        context.metrics.session_ended(self.end, seconds)
        context.log.session_ended(self.dialogue, self.end, seconds)

    # --- admission

    @property
    def peer(self) -> str:
        """The client as `host:port`; behind PROXY, the real one."""
        return self.dialogue.peer

    def _set_peer(self, name: Any) -> None:  # noqa: ANN401 - whatever the transport calls a peer
        host, port = (str(name[0]), int(name[1])) if name else ("", 0)
        host = host.removeprefix("::ffff:")  # An IPv4 client of a dual-stack listener.
        self._peer = (host, port)
        self.dialogue.peer = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        if self.session is not None:
            self.session.peer = self.dialogue.peer

    def _refuse(self, result: str, reply: Reply) -> None:
        self.context.metrics.connection(self.listener, result)
        self.context.log.refused(self.peer, result)
        self.dialogue.close(reply)
        self._flush()
        self.transport.close()

    def _refuse_admission(self, reason: str) -> None:
        is_full = reason == "over_limit"
        self._refuse(
            reason, replies.TOO_MANY_CONNECTIONS if is_full else replies.TOO_MANY_FROM_PEER
        )

    def _welcome(self) -> None:
        """Count an admitted connection and let it speak."""
        self._is_welcome = True
        metrics, is_probe = self.context.metrics, self.context.admission.is_probe(*self._peer)
        metrics.connection(self.listener, "probe" if is_probe else "accepted")
        metrics.connection_opened(self.listener)
        if self.listener == "smtps":
            self.dialogue.tls = self._describe_tls("implicit")
        self.dialogue.greet()
        self._flush()

    def _start(self, work: Any) -> None:  # noqa: ANN401 - any coroutine
        self._task = self.loop.create_task(work)

    # --- PROXY

    def _expects_proxy(self) -> bool:
        networks = self.context.proxy_networks
        if (
            not networks
            or self.listener == "smtps"
            or self.context.admission.is_expected(*self._peer)
        ):
            return False
        address = ip_address(self._peer[0].partition("%")[0])
        return any(address in network for network in networks)

    async def _read_proxy_header(self, reader: asyncio.StreamReader) -> None:
        """Read the header aiosmtpd's way, then be the client it names."""
        proxy = await get_proxy(reader)
        if self.transport is None:
            return
        if not proxy or not proxy.valid:
            self._refuse("bad_proxy", replies.BAD_PROXY_HEADER)
            return
        if self.session is not None:
            self.session.proxy_data = proxy
        if proxy.src_addr is not None:  # None for LOCAL: the balancer's own health check.
            self._set_peer((str(proxy.src_addr), proxy.src_port or 0))
        refusal = self.context.admission.identify(self._peer[0])
        if refusal is not None:
            self._refuse_admission(refusal.value)
            return
        self._counted = self._peer
        rest, self._proxy_reader = bytes(reader._buffer), None  # type: ignore[attr-defined]  # noqa: SLF001
        self.touch()
        self._welcome()
        if rest:
            self.data_received(rest)

    # --- what the dialogue asks

    def keep(self, envelope: Envelope, body: bytes) -> None:
        """Give the message to the store."""
        self._delivery.keep(envelope, body)

    def refused(self, reply: Reply) -> None:
        """Count a message whose data was refused."""
        self._delivery.refused(reply)

    def aborted(self) -> None:
        """Count a message whose data never ended."""
        self._delivery.aborted(self.end)

    def _answered(self) -> None:
        """Go on after an answer that took its time."""
        self.touch()
        self.pump()

    def reserve(self, octets: int) -> bool:
        """Ask the server's budget for memory."""
        return self.context.budget.request(self, octets)

    def budget_granted(self) -> None:
        """Go on: the budget has the memory that was asked for."""
        self.dialogue.granted()
        self.touch()
        self._schedule()

    def release(self) -> None:
        """Give the memory back."""
        self.context.budget.release(self)

    def start_tls(self) -> None:
        """Stop reading in clear and shake hands (RFC 3207 section 4)."""
        self.transport.pause_reading()
        self._start(self._shake_hands())

    async def _shake_hands(self) -> None:
        certificates = self.context.certificates
        if certificates is None:
            self.abort()
            return
        # From the next call on, what is received was encrypted, even before the call returns.
        self.dialogue.tls_begins()
        try:
            transport = await self.loop.start_tls(
                self.transport,
                self,
                certificates.context,
                server_side=True,
                ssl_handshake_timeout=min(self.context.timeout, HANDSHAKE_SECONDS),
            )
        except (OSError, ssl.SSLError) as error:
            self.context.metrics.tls_handshake("starttls", None, "error")
            self.context.log.tls_failed(self.peer, error)
            self._lost(error)
            return
        self._encrypted(transport)

    def _encrypted(self, transport: asyncio.BaseTransport | None) -> None:
        if transport is None or self.transport is None:
            self._lost(None)
            return
        self.transport = transport
        self.touch()
        self.dialogue.tls_started(self._describe_tls("starttls"))
        self._is_reading_paused = False
        self.pump()

    def _describe_tls(self, mode: str) -> str:
        """Count the handshake and return what it agreed on."""
        tls = self.transport.get_extra_info("ssl_object")
        self.context.metrics.tls_handshake(mode, tls.version(), "ok")
        if self.session is not None:
            self.session.ssl = self.transport.get_extra_info("sslcontext")
        return describe(tls)

    def _lost(self, error: Exception | None) -> None:
        """End after a failed handshake, of which the event loops do not always tell."""
        transport = self.transport
        self.end = self.end or "error"
        self._task = None
        self.connection_lost(error)
        if transport is not None:
            transport.abort()

    def judge(self, mechanism: str, credentials: Credentials) -> None:
        """Have the credentials checked off the loop."""
        self._start(self._judge(mechanism, credentials))

    async def _judge(self, mechanism: str, credentials: Credentials) -> None:
        context, verdict = self.context, Verdict.UNAVAILABLE
        if context.authenticator is not None:
            verdict = await context.authenticator.verify(
                credentials.user, credentials.password, peer=self._peer[0]
            )
        context.metrics.auth_attempt(mechanism, verdict.value)
        is_accepted = verdict is Verdict.ACCEPTED
        if self.session is not None:
            self.session.authenticated = is_accepted
        self.dialogue.judged(credentials.user if is_accepted else None, _AUTH_REPLIES[verdict])
        self._answered()
