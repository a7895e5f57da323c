"""One SMTP client from accept to close: transport events come in, and the parts are called.

Input arrives in `data_received` only, and output leaves by `Flow.write` only. An expired timer ends
the connection without waiting for the client. An unexpected exception ends the session with 421.
"""

from __future__ import annotations

import asyncio
import enum
import ssl
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from prixfixe.auth.authenticator import Verdict
from prixfixe.connection.arrival import Arrival, expects_header
from prixfixe.connection.deadline import Deadline
from prixfixe.connection.delivery import Delivery
from prixfixe.connection.flow import BULK_OCTETS, PAUSE_OCTETS, Flow
from prixfixe.connection.hold import CutShort, Hold
from prixfixe.connection.refusals import Refusals
from prixfixe.connection.seat import Seat
from prixfixe.connection.tls_upgrade import shake_hands
from prixfixe.limits.admission import Refusal
from prixfixe.limits.timing import Overdue, Turn
from prixfixe.smtp import proxy_header, replies
from prixfixe.smtp.commands import VERBS
from prixfixe.smtp.requests import (
    Aborted,
    CheckLogin,
    CloseAfter,
    Decide,
    Dropped,
    Keep,
    LimitMet,
    NeedMemory,
    Pause,
    PutOff,
    RecipientRefused,
    Refused,
    ReleaseMemory,
    Response,
    StartTls,
    TurnedAway,
)
from prixfixe.smtp.sasl import Proof
from prixfixe.smtp.session import Mode, Session
from prixfixe.smtp.transcript import Transcript
from prixfixe.telemetry.sessions import OpenSession
from prixfixe.tls.certificates import describe

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from prixfixe.connection.hooks import Dialogue
    from prixfixe.connection.services import Services
    from prixfixe.mail.message import Envelope
    from prixfixe.smtp.offer import Offer
    from prixfixe.smtp.replies import Reply
    from prixfixe.smtp.requests import Request
    from prixfixe.smtp.sasl import Credentials

__all__ = ["Connection", "Phase"]

SLICE_SECONDS: Final = 0.0003  # of work on one client's input before others have a turn
SLICE_REPLIES: Final = 64
LINGER_SECONDS: Final = 2.0  # for a client to read an unexpected last reply
HANDSHAKE_SECONDS: Final = 30.0  # for a TLS handshake, and for a PROXY header
JUMPED_SECONDS: Final = 3.0  # for the handshake of a client that sent commands after STARTTLS
# On the implicit-TLS port, a client can read a refusal only after a handshake. At most this many
# refused clients at a time do one, in less time. The others are aborted.
MAX_EXPLAINED: Final = 16
EXPLAINING_SECONDS: Final = 5.0
_COMMAND, _BODY, _CLOSED = Mode.COMMAND, Mode.BODY, Mode.CLOSED  # saves an attribute look-up
_REFUSALS: Final = {
    Refusal.OVER_LIMIT: replies.TOO_MANY_CONNECTIONS,
    Refusal.OVER_IP_LIMIT: replies.TOO_MANY_FROM_PEER,
    Refusal.RATE_LIMITED: replies.TOO_OFTEN_FROM_PEER,
}
_OVERDUE: Final = {
    Overdue.SESSION: replies.SESSION_TOO_LONG,
    Overdue.IDLE: replies.IDLE,
    Overdue.DATA: replies.TOO_SLOW,
}
_VERDICTS: Final = {
    Verdict.ACCEPTED: replies.AUTHENTICATED,
    Verdict.REJECTED: replies.BAD_CREDENTIALS,
    Verdict.UNAVAILABLE: replies.AUTH_UNAVAILABLE,
    Verdict.BLOCKED: replies.TOO_MANY_FAILED_LOGINS,
}


def _hold(services: Services) -> Reply | None:
    """Return the refusal of MAIL while the store does not answer."""
    roster = services.roster
    if not roster.pending:
        return None
    return replies.STORE_SLOW if roster.is_store_stuck(services.loop.time()) else None


class Phase(enum.Enum):
    """Where a connection is between accept and close."""

    ARRIVING = enum.auto()  # not admitted yet, or its PROXY header is due
    HANDSHAKE = enum.auto()  # of TLS, at once or after STARTTLS
    OPEN = enum.auto()  # the session reads its input
    LINGERING = enum.auto()  # the last reply is sent, but perhaps not read yet
    LOST = enum.auto()  # the transport is gone


class Connection(asyncio.Protocol):
    """One client's connection, made by the listener's factory; `end` names how it ended."""

    __slots__ = (
        "__weakref__",
        "_arrival",
        "_deadline",
        "_delivery",
        "_dialogue",
        "_farewell",
        "_flow",
        "_handshake",
        "_header_timer",
        "_hold",
        "_holds_memory",
        "_is_scheduled",
        "_listener",
        "_loop",
        "_refusals",
        "_seat",
        "_services",
        "_task",
        "end",
        "phase",
        "session",
    )

    def __init__(self, services: Services, offer: Offer, listener: str) -> None:
        self._services = services
        self._loop = services.loop
        self._listener = listener
        hooks = services.hooks
        self.session = Session(
            offer,
            next(services.session_ids),
            services.metrics.replies,
            VERBS if hooks is None else hooks.verbs,
        )
        self._dialogue: Dialogue | None = None if hooks is None else hooks.open(self)
        state = self.session.state
        state.find_hold = partial(_hold, services)
        if services.authenticator is not None:
            state.find_scram = services.authenticator.scram_keys
        if services.faults is not None:
            state.find_fault = services.faults.find
            state.transcript = Transcript()
        self._flow = Flow(state.transcript)
        self._seat = Seat(services, listener)
        self._deadline = Deadline(services.loop, services.limits)
        self._refusals = Refusals(services, state, listener)
        self._delivery = Delivery(services, state, listener, self._refusals)
        self._arrival: Arrival | None = None  # buffers input before the session reads
        self.phase = Phase.ARRIVING
        self.end = ""
        self._is_scheduled = False
        self._holds_memory = False  # until the store answers late
        self._hold: Hold | None = None  # while a fault holds the session back
        self._handshake = ""  # starttls or implicit, during a handshake
        self._farewell: Reply | None = None  # a refusal to send after the handshake
        self._header_timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    # --- the transport's events

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Admit the client, then read its PROXY header, start TLS or greet it."""
        self._flow.attach(transport)
        self._guard(self._arrive)

    def data_received(self, data: bytes) -> None:
        """Process bytes from the client: in clear, decrypted, or before the greeting.

        One event of the loop may bring dozens of reads, so flow control runs after each.
        """
        if self._arrival is not None:
            self._arrival.receive(data)
            self._early_came()
        else:
            self.session.receive(data)
            if not self._is_scheduled:
                self.pump()
        if len(data) >= BULK_OCTETS:
            self._flow.rest()
            self._schedule()
        if self._is_scheduled or self._flow.is_writing_paused or self._arrival is not None:
            self._govern()

    def eof_received(self) -> bool:
        """Answer the received commands; return False to close TLS, which cannot half-close."""
        self._flow.end_of_input()
        self._end_hold("eof")
        if self._arrival is not None:
            self._early_came()
        elif not self._is_scheduled:
            self.pump()
        return self.session.state.tls is None and not self._handshake

    def pause_writing(self) -> None:
        """Stop processing input: the client does not read replies."""
        self._flow.pause_writing()
        self._govern()

    def resume_writing(self) -> None:
        """Continue processing input."""
        self._flow.resume_writing()
        self._schedule()

    def connection_lost(self, exc: Exception | None) -> None:
        """Release everything; a message that is being stored continues."""
        if self._flow.detach() is None:
            return
        self.phase = Phase.LOST
        self._deadline.stop()
        self._expect_no_header()
        task, self._task = self._task, None  # otherwise a cancelled task stays in a cycle
        if task is not None:
            task.cancel()
        if self._handshake:
            self._services.metrics.tls_handshake(self._handshake, None, "error")
            self._services.log.tls_failed(self.session.state, self._handshake, exc)
        if self._farewell is not None:
            self._services.roster.explained_one()
        self._services.roster.remove(self)
        if self._dialogue is not None and self._dialogue.drop():
            self.session.drop_question()
        self.end = self.end or ("error" if exc else "eof")
        self.session.end()
        self._serve()
        self._leave()

    # --- arriving

    def _arrive(self) -> None:
        services, seat = self._services, self._seat
        self._name(self._flow.transport.get_extra_info("peername"))
        services.roster.add(self)
        if services.roster.is_draining:
            self._refuse("draining", replies.SHUTTING_DOWN)
            return
        is_proxied = expects_header(services, seat)
        refusal = seat.reserve(self._make_room, is_proxied=is_proxied)
        if refusal is not None:
            self._refuse(refusal.value, _REFUSALS[refusal], is_header_due=is_proxied)
            return
        self._deadline.start(Turn.CLIENT, self._check_time)
        if is_proxied:
            self._expect_header()
        else:
            self._welcome()

    def _name(self, peer: Any) -> None:  # noqa: ANN401 - whatever the transport calls a peer
        self._seat.name(peer)
        self.session.name_peer(self._seat.peer)

    def _make_room(self) -> bool:
        services = self._services
        return services.roster.make_room(services.shedding, self._loop.time())

    def _refuse(self, result: str, reply: Reply, *, is_header_due: bool = False) -> None:
        """Refuse the client, with a reply if the client can read it.

        On the TLS port the reply follows a handshake, and the handshake follows a due PROXY header.
        """
        services = self._services
        services.metrics.connection(self._listener, result)
        services.log.refused(self.session.state, self._listener, result)
        if self._listener == "smtp":
            self._say_farewell(reply)
        elif result != "bad_proxy" and services.roster.explain(MAX_EXPLAINED):
            self._farewell = reply
            if is_header_due:
                self._expect_header()
            else:
                self._begin_implicit_tls(EXPLAINING_SECONDS)
        else:
            self._flow.abort()

    def _say_farewell(self, reply: Reply) -> None:
        """Send the refusal and close, without waiting for the client: there may be very many."""
        self.session.close(reply)
        self._serve()
        self.flush()
        self._flow.transport.close()

    def _welcome(self) -> None:
        """Start the session of an admitted client, or its TLS handshake."""
        self._seat.welcome(self.session.state)
        if self._listener == "smtps":
            self._begin_implicit_tls(HANDSHAKE_SECONDS)
            return
        self.phase = Phase.OPEN
        tls = self._flow.transport.get_extra_info("ssl_object")
        if tls is not None:  # The listener itself did the handshake.
            self.session.state.encrypt(describe(tls))
        self.session.greet()
        self._serve()
        self.flush()
        arrival, self._arrival = self._arrival, None
        early = b"" if arrival is None else arrival.take()
        if early or self._flow.is_at_end or self.session.mode is not _COMMAND:
            self.data_received(early)

    # --- the PROXY header

    def _expect_header(self) -> None:
        self._arrival = Arrival()
        most = self._services.header_seconds if self._farewell is None else EXPLAINING_SECONDS
        seconds = min(self._services.limits.idle_seconds, most)
        self._header_timer = self._loop.call_later(seconds, self._refuse_header)

    def _expect_no_header(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _refuse_header(self) -> None:
        self._expect_no_header()
        if self._farewell is not None:
            self._flow.abort()
        elif self.phase is Phase.ARRIVING and self._services.is_silent_to_proxies:
            self._services.metrics.connection(self._listener, "bad_proxy")
            self._flow.transport.close()
        elif self.phase is Phase.ARRIVING:
            self._refuse("bad_proxy", replies.BAD_PROXY_HEADER)

    def _early_came(self) -> None:
        if self._header_timer is not None:
            self._guard(self._look_for_header)

    def _look_for_header(self) -> None:
        """Take over the client's address from the PROXY header once it is complete."""
        if self._arrival is None:
            return
        try:
            header = self._arrival.take_header()
            client = None if header is None else proxy_header.header_client(header)
        except proxy_header.ProxyError:
            self._refuse_header()
            return
        if header is not None:
            self._expect_no_header()
            self._judge_header(header, client)
        elif self._flow.is_at_end:
            self._refuse_header()

    def _judge_header(self, header: bytes, client: tuple[str, int] | None) -> None:
        """Ask the handler about a header that is valid, if it wants to be asked."""
        hooks = self._services.hooks
        if self._dialogue is None or hooks is None or not hooks.wants_header:
            self._identify(client)
            return
        if client is not None:
            self._name(client)
        self._dialogue.proxy(header)

    def proxied(self, *, is_welcome: bool) -> None:
        """Go on after the handler's answer to the PROXY header, or close without a reply."""
        if is_welcome:
            self._identify(None)
        elif self._flow.transport is not None:
            self._flow.transport.close()

    def _identify(self, client: tuple[str, int] | None) -> None:
        if self._farewell is not None:
            self._begin_implicit_tls(EXPLAINING_SECONDS)
            return
        if client is not None:
            self._name(client)
        refusal = self._seat.identify()
        if refusal is not None:
            self._refuse(refusal.value, _REFUSALS[refusal])
            return
        self._deadline.touch()
        self._welcome()

    # --- working on the input

    def _schedule(self) -> None:
        if not self._is_scheduled and self._flow.transport is not None:
            self._is_scheduled = True
            self._services.turns.add(self)

    def take_turn(self) -> None:
        """Process one slice of the input."""
        self._is_scheduled = False
        self._flow.end_rest()
        self.pump()

    def pump(self) -> None:
        """Process input, send its replies in one write, and decide what is next."""
        session, flow = self.session, self._flow
        if flow.is_writing_paused or flow.transport is None:
            return
        try:
            has_more = session.work()
            if session.requests or has_more:
                has_more = self._work_on()
        except Exception as error:  # noqa: BLE001 - the session's one boundary
            self._broken(error)
            has_more = False
        mode, intake = session.mode, session.intake
        self._deadline.progressed(
            session.progress, intake.octets, is_data_due=mode is _BODY or session.is_data_due
        )
        if (
            has_more
            or not (mode is _COMMAND or mode is _BODY)
            or intake.is_starved
            or flow.is_at_end
            or flow.is_reading_paused
            or len(session.output) >= SLICE_REPLIES
        ):
            self.flush()
            self._look_ahead(has_more=has_more)
        elif session.output:
            self._services.reply_batch.add(self)

    def _work_on(self) -> bool:
        """Serve requests and process the rest of a slice; return whether more can be processed."""
        session = self.session
        has_more = True
        until = 0.0
        while session.requests or has_more:
            self._serve()
            if not session.has_next() or session.is_waiting:
                return False
            if session.take_slow():
                return True
            now = perf_counter()
            if (until and now >= until) or len(session.output) >= SLICE_REPLIES:
                return True
            until = until or now + SLICE_SECONDS
            has_more = session.work()
        return False

    def _look_ahead(self, *, has_more: bool) -> None:
        """Decide what is next if it is not simply the client's next bytes."""
        session, flow = self.session, self._flow
        if self.phase is Phase.LINGERING:
            flow.stop_reading()
        elif session.mode is _CLOSED:
            self._finish("quit" if session.has_quit else "error")
        elif has_more:
            self._schedule()
        elif flow.is_at_end and not session.is_waiting:
            self._finish("eof")
        if flow.is_reading_paused or session.intake.is_starved or session.buffered > PAUSE_OCTETS:
            self._govern()

    def _govern(self) -> None:
        """Read from the client only while there is room for its input."""
        arrival, session = self._arrival, self.session
        is_full = session.buffered > PAUSE_OCTETS if arrival is None else arrival.is_full
        self._flow.govern(is_full=is_full, is_starved=session.intake.is_starved)

    def flush(self) -> None:
        """Send all due replies in one write."""
        self._flow.write(self.session.output)

    # --- the session's requests

    def _serve(self) -> None:
        """Serve the session's requests; serving one may add others."""
        requests = self.session.requests
        while requests:
            request = requests.pop(0)
            if type(request) is Keep:  # as nearly always; a `match` takes three times as long
                self._take(request.envelope, request.body)
            else:
                self._serve_one(request)

    def _serve_one(self, request: Request) -> None:
        match request:
            case NeedMemory(size):
                self._need_memory(size)
            case ReleaseMemory():
                self._release_memory()
            case CheckLogin(mechanism, claim):
                self._start(self._check_login(mechanism, claim))
            case StartTls(is_jumped):
                self._start_tls(is_jumped=is_jumped)
            case Pause(seconds):
                self._hold = Hold(self._loop, self._services.faults, seconds, self._go_on)
            case CloseAfter(octets):
                self._flow.transport.set_protocol(CutShort(self, octets, self._cut_short))
            case _:
                self._serve_other(request)

    def _serve_other(self, request: Request) -> None:
        if isinstance(request, (Decide, Response)):
            self._ask(request)
        else:
            self._note(request)

    # --- a handler

    def _ask(self, request: Decide | Response) -> None:
        dialogue = self._dialogue
        if dialogue is None:
            self.session.decided()
        elif isinstance(request, Decide):
            dialogue.decide(request)
        else:
            dialogue.respond(request.line)

    def _take(self, envelope: Envelope, body: bytes) -> None:
        """Store a message, after the handler accepted it if there is one."""
        hooks = self._services.hooks
        if self._dialogue is not None and hooks is not None and hooks.wants_message:
            self._dialogue.take(envelope, body)
        else:
            self.keep(envelope, body)

    def keep(self, envelope: Envelope, body: bytes) -> None:
        """Store a message."""
        self._delivery.keep(envelope, body, self._deadline.data_since, self)

    def declined(self, envelope: Envelope, reply: Reply) -> None:
        """Send the handler's refusal of a message."""
        self._refusals.declined(envelope, reply)
        self.session.failed(reply)

    def dialogue_server(self) -> Any:  # noqa: ANN401 - the handler's view of this connection
        """Return the object that a handler's hooks are called with, or None without a handler."""
        return None if self._dialogue is None else self._dialogue.server

    @property
    def transport(self) -> Any:  # noqa: ANN401 - the transports of loops have no common class
        """The transport, or None once the client is gone."""
        return self._flow.transport

    def _note(self, request: Request) -> None:
        """Count or log a request that needs no answer."""
        match request:
            case Refused():
                self._refusals.refused(request)
            case RecipientRefused():
                self._refusals.recipient_refused(request)
            case PutOff():
                self._refusals.put_off(request)
            case TurnedAway():
                self._refusals.turned_away(request)
            case LimitMet(limit):
                self._services.metrics.limit(limit)
            case Aborted():
                self._refusals.aborted(request, self.end or self._own_end())
            case Dropped():
                self.end = "fault"

    def _own_end(self) -> str:
        return "quit" if self.session.has_quit else "eof"

    def kept(self, message_id: str) -> None:
        """Send 250: the message is stored."""
        self.session.kept(message_id)

    def failed(self, reply: Reply) -> None:
        """Send the reply to a message that is not stored."""
        self.session.failed(reply)

    def answered(self) -> None:
        """Continue after a late answer; the client may have left meanwhile."""
        self._serve()
        if self.phase is Phase.LOST:
            self._record_end()
        if self._holds_memory and not self._delivery.is_waiting:
            self._services.budget.release(self)
        self._deadline.touch()
        self.pump()

    def _need_memory(self, size: int) -> None:
        if self._services.budget.request(self, size):
            self.session.granted()
        else:
            self.session.memory_is_short()

    def budget_granted(self) -> None:
        """Continue: the memory that was asked for is reserved."""
        self.session.granted()
        self._deadline.touch()
        self._schedule()

    def _release_memory(self) -> None:
        """Release the memory, unless the store still holds the message."""
        self._holds_memory = self._delivery.is_waiting
        if not self._holds_memory:
            self._services.budget.release(self)

    # --- faults

    def _release_hold(self) -> bool:
        """End the pause, if there is one; return whether the session may go on."""
        hold, self._hold = self._hold, None
        if hold is None:
            return False
        hold.release()
        return not hold.is_stall

    def _end_hold(self, end: str) -> None:
        """End the pause now: a delay is over, and a stall ends the connection."""
        if self._hold is not None:
            is_stall = self._hold.is_stall
            self._go_on()
            if is_stall:
                self.end = self.end or end
                self.cut()

    def _go_on(self) -> None:
        if self._release_hold():
            self._guard(self.session.go_on)
            self.answered()

    def _cut_short(self) -> None:
        self.end = self.end or "fault"
        self.session.end()
        self._serve()
        self.flush()
        self.cut()

    # --- logins

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        self._task = self._loop.create_task(self._run(work))

    async def _run(self, work: Coroutine[Any, Any, None]) -> None:
        """Run work beside the session; an unexpected exception in it ends the session."""
        try:
            await work
        except Exception as error:  # noqa: BLE001 - as in `pump`
            self._broken(error)
            self.flush()
            self._finish("error")

    async def _check_login(self, mechanism: str, claim: Credentials | Proof) -> None:
        services, verdict = self._services, await self._verdict(claim)
        services.metrics.auth_attempt(mechanism, verdict.value)
        is_accepted = verdict is Verdict.ACCEPTED
        if not is_accepted:
            services.log.login_refused(self.session.state, verdict.value)
            self._refusals.login_refused(_VERDICTS[verdict])
        user = claim.user if is_accepted else None
        signature = claim.signature if isinstance(claim, Proof) else b""
        self.session.login_checked(user, _VERDICTS[verdict], signature)
        self.answered()

    async def _verdict(self, claim: Credentials | Proof) -> Verdict:
        authenticator, host = self._services.authenticator, self._seat.host
        if authenticator is None:
            return Verdict.UNAVAILABLE
        if isinstance(claim, Proof):
            is_proven = bool(claim.signature)
            return await authenticator.verify_proof(
                claim.user, claim.keys, is_proven=is_proven, peer=host
            )
        return await authenticator.verify(claim.user, claim.password, peer=host)

    # --- TLS

    def _start_tls(self, *, is_jumped: bool) -> None:
        """Stop reading in clear and start the handshake (RFC 3207 section 4).

        A client that sent commands after STARTTLS most likely waits for their replies, which never
        come, so its time is short.
        """
        self._flow.stop_reading()
        seconds = JUMPED_SECONDS if is_jumped else HANDSHAKE_SECONDS
        self._start(self._shake_hands("starttls", seconds))

    def _begin_implicit_tls(self, seconds: float) -> None:
        if self._arrival is None:  # The task starts too late to buffer the first bytes.
            self._arrival = Arrival()
        self.session.await_tls()
        self._start(self._shake_hands("implicit", seconds))

    async def _shake_hands(self, mode: str, seconds: float) -> None:
        services = self._services
        if services.certificates is None:
            self.abort()
            return
        self._handshake, self.phase = mode, Phase.HANDSHAKE
        try:
            transport = await shake_hands(
                self._flow.transport,
                self,
                services.certificates.context,
                min(services.limits.idle_seconds, seconds),
                self._take_hello,
            )
        except (OSError, ssl.SSLError) as error:
            self._lose(error)
            return
        self._encrypted(mode, transport)

    def _take_hello(self) -> bytes:
        """Return the bytes that came before TLS, and drop the session's clear-text input.

        Raises:
            ConnectionResetError: the client left, which TLS is not told by the loop.

        """
        if self._flow.is_at_end:
            raise ConnectionResetError("the client left")
        self.session.tls_begins()
        arrival, self._arrival = self._arrival, None
        return b"" if arrival is None else arrival.take()

    def _encrypted(self, mode: str, transport: Any) -> None:  # noqa: ANN401 - as in `shake_hands`
        if transport is None or self._flow.transport is None:
            self._lose(None)
            return
        self._handshake, self.phase = "", Phase.OPEN
        self._flow.attach(transport)
        self._flow.bound_tls()
        self._deadline.touch()
        tls = transport.get_extra_info("ssl_object")
        self._services.metrics.tls_handshake(mode, tls.version(), "ok")
        if self._farewell is not None:
            self._say_farewell(self._farewell)
            return
        self.session.tls_started(describe(tls), is_greeted=mode == "starttls")
        self._ask_about_tls()
        self.pump()

    def _ask_about_tls(self) -> None:
        refusal = None if self._dialogue is None else self._dialogue.encrypted()
        if refusal is not None:
            self.session.refuse_all(refusal)

    def _lose(self, error: Exception | None) -> None:
        """End after a failed handshake, which event loops do not always report."""
        transport = self._flow.transport
        self.end = self.end or "error"
        self._task = None
        self.connection_lost(error)
        if transport is not None:
            transport.abort()

    # --- time

    def _turn(self) -> Turn:
        """Return whether the server or the client must act next."""
        if self._flow.is_writing_paused or self._handshake:
            return Turn.CLIENT
        if self.session.is_waiting:
            is_stall = self._hold is not None and self._hold.is_stall
            return Turn.CLIENT if is_stall else Turn.SERVER
        return Turn.CLIENT_DATA if self.session.is_data_due else Turn.CLIENT

    def _check_time(self) -> None:
        """End a session that is overdue, else check again later."""
        self._delivery.check_time()
        overdue = self._deadline.overdue(self._turn())
        if overdue is not None:
            self._time_is_over(overdue)
        if self.phase not in (Phase.LINGERING, Phase.LOST):
            self._deadline.start(self._turn(), self._check_time)

    def _time_is_over(self, overdue: Overdue) -> None:
        """Send 421 and close; the limit of the session waits until its message is answered."""
        reply = _OVERDUE[overdue]
        self.end = "timeout"
        if self._cannot_write():
            self._limit_met(reply)
            self.cut()
            return
        if overdue is Overdue.SESSION:
            self.session.interrupt(reply)
        else:
            self.session.close(reply)
        self._end_if_closed("timeout")

    def seen(self) -> OpenSession:
        """Return what the client is doing."""
        state = self.session.state
        transaction = state.transaction
        recipients = self._delivery.recipients if transaction is None else transaction.recipients
        to = tuple(one.address for one in recipients)
        return OpenSession(state.session_id, state.peer, state.helo, state.sender, to)

    def is_client(self) -> bool:
        """Whether the connection takes a client's place."""
        return self._seat.is_client()

    def owed_seconds(self, now: float) -> float:
        """Return for how many seconds the client has sent too little; 0 while the server works."""
        if self._turn() is Turn.SERVER or not self.is_client():
            return 0.0
        return min(self._deadline.owed_seconds(now), now - self._delivery.ended_at)

    # --- ending

    def _guard(self, work: Callable[[], None]) -> None:
        """Run work before the session; an unexpected exception aborts the connection."""
        try:
            work()
        except Exception as error:  # noqa: BLE001 - as in `pump`; the loop would not close it
            self._broken(error)
            self.cut()

    def _broken(self, error: Exception) -> None:
        self._services.log.unexpected(error, self.session.state)
        self.end = "error"
        self.session.close(replies.BROKEN)
        self._serve()

    def _cannot_write(self) -> bool:
        """Whether no reply can be sent: to one that does not read, is not greeted or is stalled."""
        is_stall = self._hold is not None and self._hold.is_stall
        is_early = self._arrival is not None or bool(self._handshake)
        return self._flow.is_writing_paused or is_early or is_stall

    def _limit_met(self, reply: Reply) -> None:
        self.session.limit_met(reply.limit)
        self._serve()

    def give_way(self) -> None:
        """End the session and free its place for another client at once."""
        self.end = "shed"
        if self._cannot_write():
            self._limit_met(replies.MAKE_ROOM)
            self.cut()
        else:
            self.session.close(replies.MAKE_ROOM)
            self._end_if_closed("shed")
        self._leave()

    def drain(self) -> None:
        """Send 421 and close once the current message is answered; abort before the greeting."""
        if self._arrival is not None or self._handshake:
            self.abort()
            return
        self._end_hold("shutdown")
        self.session.interrupt(replies.SHUTTING_DOWN)
        if not self._end_if_closed("shutdown"):
            self.end = "shutdown"

    def abort(self) -> None:
        """Send due replies and abort the connection: the drain deadline has passed."""
        self.end = "shutdown"
        self.flush()
        self.cut()

    def cut(self) -> None:
        """Abort the connection without a reply, and its handshake with it."""
        task = self._task if self._handshake else None
        if task is None:
            self._flow.abort()
        else:
            self._lose(None)
            task.cancel()

    def _end_if_closed(self, end: str) -> bool:
        """End the connection if the session is closed; return whether it is."""
        self._serve()
        if self.session.mode is not _CLOSED:
            return False
        self.flush()
        self._finish(end)
        return True

    def _finish(self, end: str) -> None:
        """Close once the output is sent; abort if the client does not read it in time."""
        flow = self._flow
        if not flow.is_open() or self.phase is Phase.LINGERING:
            return
        self.phase = Phase.LINGERING
        self.end = self.end or end
        self.session.end()
        self._serve()
        self._deadline.stop()
        # Closing with unread input would reset the connection, and the last reply would be lost.
        is_heard = self.end in ("quit", "eof", "shutdown", "fault") or flow.is_at_end
        is_clear = self.session.state.tls is None
        if is_heard and is_clear and not flow.transport.get_write_buffer_size():
            flow.transport.close()  # All output is sent.
            return
        self._linger(is_heard=is_heard)

    def _linger(self, *, is_heard: bool) -> None:
        """Release the place, and leave the client LINGER_SECONDS to read the last reply."""
        transport = self._flow.transport
        self._deadline.start_in(LINGER_SECONDS, transport.abort)
        self._leave()
        self._services.roster.linger(self)
        if self.session.has_unread:
            self._flow.stop_reading()
        if is_heard or not transport.can_write_eof():
            transport.close()
            return
        try:
            transport.write_eof()
        except OSError:  # The client left first.
            transport.abort()

    def _leave(self) -> None:
        """Release the place, once."""
        self._release_hold()
        self._seat.give_back()
        self._record_end()

    def _record_end(self) -> None:
        """Record the end of the session, once, after the result of its last message."""
        if not self._delivery.is_waiting:
            seconds = self._loop.time() - self._deadline.opened_at
            self._seat.record_end(self.session.state, self.end, seconds)
