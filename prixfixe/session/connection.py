"""One client's connection: the transport, the clock and the store around a `Dialogue`.

Owns: the socket's events, flow control, timers, the TLS handshake, the PROXY header, and what
becomes of a message between the end of its data and its reply.
Promises: a put that began ends, whoever hangs up; a timer ends in `abort`, never in waiting for a
peer; a peer that only sends half-closes gets every reply it is due; nothing a client does or a
store raises reaches the wire but a fixed reply (see `_reply_for`).
Refuses: SMTP itself; that is `dialogue` and `verbs`.

This is the only module that imports aiosmtpd. Kept of `aiosmtpd.smtp.SMTP`: its place between
transport and reader, the `Session` record (peer, TLS, PROXY data, login), the PROXY v1/v2 reader.
Replaced, each for what was measured on 1.4.6:
- `__init__`: `inspect.getmembers` and `dir` per connection, `getfqdn` on the loop;
- `_handle_client`, `push`, `smtp_*`: one await and one segment a reply, LF accepted as line end,
  buffered input run after close, limits shared by all connections of the class;
- `_getaddr`, `_getparams`: a message-header parser on SMTP paths (see `address`, `params`);
- `smtp_DATA`: an object for every line, memory beyond the limit, dots counted (see `body`);
- `_timeout_cb`: `close()` waits for a peer that never reads; no 421;
- `eof_received`, `connection_lost`: cancelled the store's work;
- `handle_exception`: exception text on the wire, as a permanent failure;
- `smtp_AUTH`, `smtp_STARTTLS`: password checks on the loop, secrets in debug logs, asyncio's own
  TLS on any loop.
"""

from __future__ import annotations

import asyncio
import ssl
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

from aiosmtpd import smtp
from aiosmtpd.proxy_protocol import get_proxy

from prixfixe import replies
from prixfixe.auth import Verdict
from prixfixe.message import Message
from prixfixe.session.conversation import Mode
from prixfixe.session.dialogue import Dialogue
from prixfixe.stores.base import StoreError

if TYPE_CHECKING:
    from prixfixe.message import Envelope
    from prixfixe.replies import Reply
    from prixfixe.session.context import Context
    from prixfixe.session.sasl import Credentials
    from prixfixe.session.terms import Terms

__all__ = ["Connection"]

PAUSE_OCTETS: Final = 65536  # buffered input at which the kernel's window is used instead
LINGER_SECONDS: Final = 2.0  # for a peer to read a last reply it did not ask for
HANDSHAKE_SECONDS: Final = 30.0
_AUTH_REPLIES: Final = {
    Verdict.ACCEPTED: replies.AUTHENTICATED,
    Verdict.REJECTED: replies.BAD_CREDENTIALS,
    Verdict.UNAVAILABLE: replies.AUTH_UNAVAILABLE,
    Verdict.BLOCKED: replies.TOO_MANY_FAILED_LOGINS,
}
PROXY_OCTETS: Final = 536  # the longest PROXY v2 header a balancer sends; v1 is at most 107


class Connection(smtp.SMTP):
    """One client's connection, made by the listener's factory."""

    def __init__(self, context: Context, terms: Terms, listener: str) -> None:
        # For the life of the connection. The parent's constructor is not called: see above.
        self.context = context
        self.loop = context.loop
        self.listener = listener
        self.terms = terms
        self.transport: Any = None
        self.session: smtp.Session | None = None
        self.dialogue = Dialogue(terms, self, context.loop.time, context.metrics.command)
        self._opened_at = 0.0
        self._peer = ("", 0)
        self._counted: tuple[str, int] | None = None  # as the admission knows it, once it does
        self._is_implicit_tls = listener == "smtps"
        self._is_welcome = False
        self._end = ""
        # Flow.
        self._is_scheduled = False
        self._is_reading_paused = False
        self._is_writing_paused = False
        self._is_ended = False
        self._proxy_reader: asyncio.StreamReader | None = None
        # Time.
        self._timer: asyncio.TimerHandle | None = None
        self._active_at = 0.0
        self._progress = 0
        self._data_ended_at = 0.0
        self._task: asyncio.Task[None] | None = None

    # --- the transport's events

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Admit the peer, then greet it, or read its PROXY header or ClientHello first."""
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
            self._start(self._read_proxy_header())
        else:
            self._welcome()

    def data_received(self, data: bytes) -> None:
        """Take octets and answer what can be answered now."""
        if self._proxy_reader is not None:
            self._proxy_reader.feed_data(data)
            return
        self.dialogue.receive(data)
        if not self._is_scheduled:
            self._pump()

    def eof_received(self) -> bool:
        """Answer what is under way before closing; TLS cannot half-close, so says False."""
        self._is_ended = True
        if self._proxy_reader is not None:
            self._proxy_reader.feed_eof()
        elif not self._is_scheduled:
            self._pump()
        return self.dialogue.tls is None

    def connection_lost(self, error: Exception | None) -> None:
        """Forget the connection; a message being kept is not disturbed."""
        if self.transport is None:
            return
        self.transport = None
        for handle in (self._timer, self._task):
            if handle is not None:
                handle.cancel()
        context = self.context
        context.sessions.discard(self)
        if context.is_draining and not context.sessions:
            context.no_sessions.set()
        self.dialogue.end()
        if self._counted is not None:
            self._leave(self._counted, self._end or ("error" if error else "eof"))

    def pause_writing(self) -> None:
        """Stop answering: the peer does not read."""
        self._is_writing_paused = True
        self._govern_reading()

    def resume_writing(self) -> None:
        """Go on answering."""
        self._is_writing_paused = False
        self._schedule()

    # --- the pump

    def _schedule(self) -> None:
        if not self._is_scheduled and self.transport is not None:
            self._is_scheduled = True
            self.loop.call_soon(self._scheduled)

    def _scheduled(self) -> None:
        self._is_scheduled = False
        self._pump()

    def _pump(self) -> None:
        """Work on the input, send the replies in one write, and see what is next."""
        dialogue = self.dialogue
        if self._is_writing_paused or self.transport is None:
            return
        try:
            has_more = dialogue.work()
        except Exception as error:  # noqa: BLE001 - the session's one boundary
            self._broken(error)
            has_more = False
        if dialogue.progress != self._progress:
            self._progress = dialogue.progress
            self._active_at = self.loop.time()
        self._flush()
        if dialogue.mode is Mode.CLOSED:
            self._finish("quit")
        elif has_more:
            self._schedule()
        elif self._is_ended and not self._is_awaiting():
            self._finish("eof")
        if self._is_reading_paused or dialogue.buffered > PAUSE_OCTETS or dialogue.is_starved:
            self._govern_reading()

    def _flush(self) -> None:
        output = self.dialogue.output
        if output and self.transport is not None:
            self.transport.write(b"".join(output) if len(output) > 1 else output[0])
            output.clear()

    def _is_awaiting(self) -> bool:
        """Whether the next step is not the peer's but ours."""
        return self.dialogue.mode is Mode.WAITING or self.dialogue.is_starved

    def _govern_reading(self) -> None:
        dialogue = self.dialogue
        is_wanted = not (
            self._is_writing_paused or dialogue.is_starved or dialogue.buffered > PAUSE_OCTETS
        )
        if self.transport is None or self.transport.is_closing() or self._is_ended:
            return
        if is_wanted == self._is_reading_paused:
            self._is_reading_paused = not is_wanted
            (self.transport.resume_reading if is_wanted else self.transport.pause_reading)()

    def _broken(self, error: Exception) -> None:
        self.context.log.unexpected(self.peer, error)
        self._end = "error"
        self.dialogue.close(replies.BROKEN)

    # --- ending

    def _finish(self, end: str) -> None:
        """Close once the output is sent; a peer that does not take it is cut off."""
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        self._end = self._end or end
        self.dialogue.end()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(LINGER_SECONDS, transport.abort)
        # Closing with unread input would reset the connection and take the last reply with it.
        if self._end in ("quit", "eof") or self._is_ended or not transport.can_write_eof():
            transport.close()
            return
        try:
            transport.write_eof()
        except OSError:  # The peer went first.
            transport.abort()

    def _check_idle(self) -> None:
        """Act when nothing useful came for the whole timeout, else look again when it is due."""
        timeout = self.context.timeout
        left = self._active_at + timeout - self.loop.time()
        if self._is_awaiting() and not self._is_writing_paused:
            left = timeout
        if left > 0.001:
            self._timer = self.loop.call_later(left, self._check_idle)
            return
        self._end = "timeout"
        if self._is_writing_paused or self._proxy_reader is not None:
            self.transport.abort()
            return
        self.dialogue.close(replies.IDLE)
        self._flush()
        self._finish("timeout")

    def drain(self) -> None:
        """Say 421 and close, or do so when the message under way is answered."""
        self.dialogue.interrupt(replies.SHUTTING_DOWN)
        if self.dialogue.mode is Mode.CLOSED:
            self._flush()
            self._finish("shutdown")
        else:
            self._end = "shutdown"

    def abort(self) -> None:
        """Cut the connection now: the drain deadline has passed."""
        self._end = "shutdown"
        if self.transport is not None:
            self.transport.abort()

    def _leave(self, counted: tuple[str, int], end: str) -> None:
        context, dialogue = self.context, self.dialogue
        is_probe = context.admission.is_probe(*counted)
        context.admission.leave(*counted)
        if self._is_welcome:
            context.metrics.connection_closed(self.listener)
        if is_probe or not self._is_welcome:
            return
        seconds = self.loop.time() - self._opened_at
        context.metrics.session_ended(end, seconds)
        context.log.session_ended(dialogue, end, seconds)

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
        if not self._is_implicit_tls:
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
        if self._is_implicit_tls and self.dialogue.tls is None:
            self.start_tls()
            return
        self._greet()

    def _greet(self) -> None:
        self.dialogue.greet()
        self._flush()

    def _start(self, work: Any) -> None:  # noqa: ANN401 - any coroutine
        self._task = self.loop.create_task(work)

    # --- PROXY

    def _expects_proxy(self) -> bool:
        networks = self.context.proxy_networks
        if not networks or self.context.admission.is_expected(*self._peer):
            return False
        address = ip_address(self._peer[0].partition("%")[0])
        return any(address in network for network in networks)

    async def _read_proxy_header(self) -> None:
        """Read the header aiosmtpd's way, then be the client it names."""
        reader = self._proxy_reader = asyncio.StreamReader(limit=PROXY_OCTETS, loop=self.loop)
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
        self._active_at = self.loop.time()
        self._welcome()
        if rest and not self._is_implicit_tls:
            self.data_received(rest)

    # --- what the dialogue asks

    def keep(self, envelope: Envelope, body: bytes) -> None:
        """Give the message to the store."""
        context = self.context
        made, now = context.ids()
        message = Message(made, now, envelope, body)
        self._data_ended_at = self.loop.time()
        future = context.store.put(message)
        if future.done():
            self._put_ended(message, future)
        else:
            future.add_done_callback(lambda done: self._put_ended_later(message, done))

    def _put_ended_later(self, message: Message, future: asyncio.Future[None]) -> None:
        self._put_ended(message, future)
        self._active_at = self.loop.time()
        self._pump()

    def _put_ended(self, message: Message, future: asyncio.Future[None]) -> None:
        error = future.exception()
        if error is None:
            self._kept(message)
        else:
            self._not_kept(message, error)

    def _kept(self, message: Message) -> None:
        context, dialogue, now = self.context, self.dialogue, self.loop.time()
        context.arrivals.publish(message)
        received = self._data_ended_at - dialogue.data_since
        taken = now - self._data_ended_at
        context.metrics.accepted(
            self.listener,
            len(message.body),
            len(message.envelope.recipients),
            received,
            taken,
        )
        context.metrics.last_accepted = message.received_at
        context.log.message_kept(message, taken)
        dialogue.kept(message.id)

    def _not_kept(self, message: Message, error: BaseException) -> None:
        reply, reason = self._reply_for(error)
        self.context.metrics.message(self.listener, "deferred", reason)
        self.context.metrics.store_error(getattr(error, "kind", "internal"))
        self.context.log.message_deferred(message, error)
        self.dialogue.failed(reply)

    @staticmethod
    def _reply_for(error: BaseException) -> tuple[Reply, str]:
        """Turn any failure into a fixed, temporary reply and its reason for the metrics."""
        if isinstance(error, StoreError):
            if error.is_full:
                return replies.STORE_FULL, "store_full"
            return replies.STORE_FAILED, "store_error"
        return replies.INTERNAL, "internal"

    def refused(self, reply: Reply) -> None:
        """Count a message whose data was refused."""
        reason = "size" if reply is replies.TOO_BIG else "content"
        self.context.metrics.message(self.listener, "rejected", reason)

    def aborted(self) -> None:
        """Count a message whose data never ended."""
        reason = self._end if self._end in ("timeout", "shutdown") else "client_gone"
        self.context.metrics.message(self.listener, "aborted", reason)

    def reserve(self, octets: int) -> bool:
        """Ask the server's budget for memory."""
        return self.context.budget.request(self, octets)

    def budget_granted(self) -> None:
        """Go on: the budget has the memory that was asked for."""
        self.dialogue.granted()
        self._active_at = self.loop.time()
        self._schedule()

    def release(self) -> None:
        """Give the memory back."""
        self.context.budget.release(self)

    def start_tls(self) -> None:
        """Stop reading in clear and shake hands (RFC 3207 section 4)."""
        self.transport.pause_reading()
        self._start(self._shake_hands())

    async def _shake_hands(self) -> None:
        metrics = self.context.metrics
        mode = "implicit" if self._is_implicit_tls else "starttls"
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
            metrics.tls_handshake(mode, None, "error")
            self.context.log.tls_failed(self.peer, error)
            self._lost(error)
            return
        self._encrypted(transport, mode)

    def _encrypted(self, transport: asyncio.BaseTransport | None, mode: str) -> None:
        if transport is None or self.transport is None:
            self._lost(None)
            return
        self.transport = transport
        tls = transport.get_extra_info("ssl_object")
        self.context.metrics.tls_handshake(mode, tls.version(), "ok")
        if self.session is not None:
            self.session.ssl = transport.get_extra_info("sslcontext")
        self._active_at = self.loop.time()
        self.dialogue.tls_started(f"{tls.version()} {tls.cipher()[0]}")
        if self._is_implicit_tls:
            self.dialogue.greet()
        self._is_reading_paused = False
        self._pump()

    def _lost(self, error: Exception | None) -> None:
        """End after a failed handshake, of which the event loops do not always tell."""
        transport = self.transport
        self._end = self._end or "error"
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
        self._active_at = self.loop.time()
        self._pump()
