"""The door: who may come in, what a PROXY header says, and the TLS handshake.

Owns: the way from accepted to greeted, and later into TLS.
Promises: a connection counts from the moment it is accepted, handshake included; a PROXY
header is read from trusted networks only, on both listeners, before TLS; a stalled header or
handshake is dropped; what came in clear is forgotten at the handshake and nothing after it is.
Refuses: SMTP (see `dialogue`), the transport's events (see `link`), counting (see `placed`).
"""

from __future__ import annotations

import ssl
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

from prixfixe.connection.seat import Placed
from prixfixe.connection.tls_upgrade import shake_hands
from prixfixe.limits.admission import Refusal
from prixfixe.limits.timing import Turn
from prixfixe.smtp import proxy_header, replies
from prixfixe.tls.certificates import describe

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Coroutine

    from prixfixe.connection.services import Context
    from prixfixe.smtp.offer import Terms
    from prixfixe.smtp.replies import Reply

__all__ = ["Entrance"]

HANDSHAKE_SECONDS: Final = 30.0  # for a TLS handshake, and for a PROXY header
# On the implicit-TLS port a refusal can be read only after a handshake. So many at a time are
# given one, in less time; the others are closed without a word.
MAX_EXPLAINED: Final = 16
EXPLAINING_SECONDS: Final = 5.0
# Encrypted input, and replies, at which TLS asks for a pause; two records of TLS fit.
TLS_BUFFER_OCTETS: Final = 32768
_REFUSALS: Final = {
    Refusal.OVER_LIMIT: replies.TOO_MANY_CONNECTIONS,
    Refusal.OVER_IP_LIMIT: replies.TOO_MANY_FROM_PEER,
    Refusal.RATE_LIMITED: replies.TOO_OFTEN_FROM_PEER,
}


class Entrance(Placed):
    """A connection on its way in; `Connection` is what comes then."""

    def __init__(self, context: Context, terms: Terms, listener: str) -> None:
        super().__init__(context, terms, listener)
        self._farewell: Reply | None = None
        self._handshake = ""  # starttls or implicit while one is under way
        self._header_timer: asyncio.TimerHandle | None = None  # while a PROXY header is due

    # --- admission

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Admit the peer; then read its PROXY header, shake hands or greet it."""
        self.transport = transport
        try:
            self._arrive(transport)
        except Exception as error:  # noqa: BLE001 - as in `pump`; the loop would not close it
            self._broken(error)
            self.cut()

    def _arrive(self, transport: asyncio.BaseTransport) -> None:
        context = self.context
        self.session = self._create_session()
        self._set_peer(transport.get_extra_info("peername"))
        context.sessions.add(self)
        if context.is_draining:
            self._refuse("draining", replies.SHUTTING_DOWN)
            return
        expects_proxy = self._expects_proxy()
        host, port = ("", 0) if expects_proxy else self._peer
        refusal = context.admission.admit(host, port, self._make_room)
        if refusal is not None:
            self._refuse_admission(refusal)
            return
        self._counted = (host, port)
        context.metrics.connection_opened(self.listener)
        wait = self.pace.seconds_to_look(self.pace.opened_at, Turn.THEIRS)
        self._timer = self.loop.call_later(wait, self.check_time)
        if expects_proxy:
            self._expect_header()
        else:
            self._welcome()

    def _refuse_admission(self, reason: Refusal) -> None:
        self._refuse(reason.value, _REFUSALS[reason])

    def _refuse(self, result: str, reply: Reply) -> None:
        self.context.metrics.connection(self.listener, result)
        self.context.log.refused(self.dialogue, self.listener, result)
        if self.listener == "smtp":
            self._say_farewell(reply)
        elif result != "bad_proxy" and self.context.explained < MAX_EXPLAINED:
            self.context.explained += 1
            self._farewell = reply
            self._begin_tls(EXPLAINING_SECONDS)
        else:
            self.transport.abort()

    def _say_farewell(self, reply: Reply) -> None:
        """Say why and close, without waiting for the peer: it may be one of very many."""
        self.dialogue.close(reply)
        self.flush()
        self.transport.close()

    def _welcome(self) -> None:
        """Let an admitted connection in."""
        self._is_welcome = True
        is_probe = self.context.admission.is_probe(*self._peer)
        self.context.metrics.connection(self.listener, "probe" if is_probe else "accepted")
        if not is_probe:
            self.context.log.session_began(self.dialogue, self.listener)
        if self.listener == "smtps":
            self._begin_tls(HANDSHAKE_SECONDS)
            return
        self.dialogue.greet()
        self.flush()
        early = self._take_early()
        if early or self._is_ended:
            self.data_received(early)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        self._task = self.loop.create_task(self._run(work))

    async def _run(self, work: Coroutine[Any, Any, None]) -> None:
        """Be the boundary of work beside the dialogue: a defect in it ends the session."""
        try:
            await work
        except Exception as error:  # noqa: BLE001 - as in `pump`
            self._broken(error)
            self.flush()
            self._finish("error")

    # --- before there is a conversation

    def has_no_voice(self) -> bool:
        """Whether a last word would reach nobody; there is none before the greeting."""
        return super().has_no_voice() or self._is_unheard()

    def _is_unheard(self) -> bool:
        return self._early is not None or bool(self._handshake)

    def turn(self) -> Turn:
        """Return whose time is running; that of a handshake is the peer's."""
        return Turn.THEIRS if self._handshake else super().turn()

    def left(self, error: Exception | None) -> None:
        """Account for a handshake that was under way, then for all else."""
        if self._handshake:
            self.context.metrics.tls_handshake(self._handshake, None, "error")
            self.context.log.tls_failed(self.dialogue, self._handshake, error)
        if self._farewell is not None:
            self.context.explained -= 1
        self._expect_no_header()
        super().left(error)

    def eof_received(self) -> bool:
        """Answer what is due before closing; TLS cannot half-close, in its handshake neither."""
        return super().eof_received() and not self._handshake

    def _keep_early(self) -> None:
        """Keep what comes from now on away from the dialogue, for the one who reads it first.

        This is done when the connection is made: a task's first turn is too late.
        """
        if self._early is None:
            self._early = bytearray()

    def _take_early(self) -> bytes:
        """Return what was kept and not read; what comes from now on is for others."""
        early, self._early = self._early, None
        return bytes(early or b"")

    def _take_hello(self) -> bytes:
        """Return what was kept, for TLS, which is not told that a client has left meanwhile.

        From here on all that is received was encrypted: what the dialogue has was not.
        """
        if self._is_ended:
            raise ConnectionResetError("the client left")
        self.dialogue.tls_begins()
        return self._take_early()

    def drain(self) -> None:
        """Say 421 and close, or do so when what is under way is answered; cut what has no voice."""
        if self._is_unheard():
            self.abort()
        else:
            super().drain()

    def _expects_proxy(self) -> bool:
        networks = self.context.proxy_networks
        if not networks or self.context.admission.is_expected(*self._peer):
            return False
        if not self._peer[0]:  # It left before it was asked for its name.
            return False
        address = ip_address(self._peer[0].partition("%")[0])
        return any(address in network for network in networks)

    def _expect_header(self) -> None:
        """Take what comes first for a PROXY header."""
        self._keep_early()
        seconds = min(self.context.limits.idle_seconds, HANDSHAKE_SECONDS)
        self._header_timer = self.loop.call_later(seconds, self._refuse_header)

    def _expect_no_header(self) -> bool:
        """Return whether a PROXY header was due, and wait for it no longer."""
        timer, self._header_timer = self._header_timer, None
        if timer is not None:
            timer.cancel()
        return timer is not None

    def _refuse_header(self) -> None:
        if self._expect_no_header() and self.transport is not None:
            self._refuse("bad_proxy", replies.BAD_PROXY_HEADER)

    def early_came(self) -> None:
        """Look for the whole PROXY header, if one is due."""
        if self._header_timer is None:
            return
        try:
            self._look_for_header()
        except Exception as error:  # noqa: BLE001 - as in `pump`
            self._broken(error)
            self.cut()

    def _look_for_header(self) -> None:
        early = self._early or bytearray()
        try:
            size = proxy_header.header_octets(early)
            client = None if size is None else proxy_header.header_client(bytes(early[:size]))
        except proxy_header.ProxyError:
            self._refuse_header()
            return
        if size is not None:
            del early[:size]
            self._expect_no_header()
            self._identify(client)
        elif self._is_ended:
            self._refuse_header()

    def _identify(self, client: tuple[str, int] | None) -> None:
        """Be the client that the PROXY header names."""
        if client is not None:
            self._set_peer(client)
        refusal = self.context.admission.identify(self._peer[0])
        if refusal is not None:
            self._refuse_admission(refusal)
            return
        self._counted = self._peer
        self.touch()
        self._welcome()

    # --- TLS

    def _begin_tls(self, seconds: float) -> None:
        self._keep_early()
        self.dialogue.await_tls()
        self._start(self._shake_hands("implicit", seconds))

    async def _shake_hands(self, mode: str, seconds: float) -> None:
        context = self.context
        if context.certificates is None:
            self.abort()
            return
        self._handshake = mode
        try:
            transport = await shake_hands(
                self.transport,
                self,
                context.certificates.context,
                min(context.limits.idle_seconds, seconds),
                self._take_hello,
            )
        except (OSError, ssl.SSLError) as error:
            self._lost(error)
            return
        self._encrypted(mode, transport)

    def _encrypted(self, mode: str, transport: Any) -> None:  # noqa: ANN401 - as in `shake_hands`
        if transport is None or self.transport is None:
            self._lost(None)
            return
        self._handshake = ""
        self.transport = transport
        # TLS keeps buffers of its own, whose usual bounds are made for fewer connections.
        transport.set_read_buffer_limits(TLS_BUFFER_OCTETS)
        transport.set_write_buffer_limits(TLS_BUFFER_OCTETS)
        self.touch()
        tls = transport.get_extra_info("ssl_object")
        self.context.metrics.tls_handshake(mode, tls.version(), "ok")
        if self.session is not None:
            self.session.ssl = transport.get_extra_info("sslcontext")
        if self._farewell is not None:
            self._say_farewell(self._farewell)
            return
        self.dialogue.tls_started(describe(tls), is_greeted=mode == "starttls")
        self._is_deaf = self._is_reading_paused = False
        self.pump()

    def cut(self) -> None:
        """End the connection without a word, and the handshake with it."""
        task = self._task if self._handshake else None
        if task is None:
            super().cut()
        else:
            self._lost(None)
            task.cancel()

    def _lost(self, error: Exception | None) -> None:
        """End after a failed handshake, of which the event loops do not always tell."""
        transport = self.transport
        self.end = self.end or "error"
        self._task = None
        self.connection_lost(error)
        if transport is not None:
            transport.abort()
