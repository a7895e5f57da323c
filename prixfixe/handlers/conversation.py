"""One connection's dialogue with a handler: hooks are called, and their answers checked.

An exception becomes 451 and is logged, never shown. A hook that takes too long is given up.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from aiosmtpd.proxy_protocol import get_proxy
from aiosmtpd.smtp import MISSING, Envelope, Session

from prixfixe.handlers.deprecated import warn_of
from prixfixe.handlers.logins import login_status
from prixfixe.handlers.reply_check import UnfitReply, reply_of
from prixfixe.handlers.smtp_server import ServerObject
from prixfixe.handlers.watched import start, watched
from prixfixe.smtp import replies

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from prixfixe.connection.hooks import HookedConnection
    from prixfixe.handlers.hooks import HookTable
    from prixfixe.mail.message import Envelope as MailEnvelope
    from prixfixe.mail.message import Params, Recipient
    from prixfixe.smtp.replies import Reply
    from prixfixe.smtp.requests import Decide
    from prixfixe.smtp.transaction import Transaction

__all__ = ["Conversation"]


class _Call:
    """One call of a hook that is under way; it is answered once."""

    __slots__ = ("answer", "is_over", "is_starting", "pushed", "task", "timer", "verb")

    def __init__(self, verb: str, answer: Callable[[Reply | None], None]) -> None:
        self.verb = verb
        self.answer = answer
        self.pushed: list[object] = []  # lines before the reply
        self.is_over = False
        self.is_starting = True
        self.task: asyncio.Task[None] | None = None
        self.timer: asyncio.TimerHandle | None = None

    @property
    def hook(self) -> str:
        """The name of the hook, for the log."""
        return f"handle_{self.verb}"


class Conversation:
    """The handler's side of one connection.

    `session` and `envelope` are aiosmtpd's objects. They are filled from the connection's state
    when a hook is called or when they are read, but for what the handler's own hooks fill.
    """

    __slots__ = (
        "_bound",
        "_call",
        "_connection",
        "_envelope",
        "_hooks",
        "_response",
        "_server",
        "_session",
    )

    def __init__(self, hooks: HookTable, connection: HookedConnection) -> None:
        self._hooks = hooks
        self._connection = connection
        self._server: ServerObject | None = None
        self._session: Session | None = None
        self._envelope: Envelope | None = None
        self._bound: Transaction | None = None  # whose envelope this is
        self._call: _Call | None = None
        self._response: asyncio.Future[bytes] | None = None

    # --- what handlers see

    @property
    def loop(self) -> Any:  # noqa: ANN401 - any event loop
        """The loop of the connection."""
        return self._hooks.template.loop

    @property
    def transport(self) -> Any:  # noqa: ANN401 - the transports of loops have no common class
        """The transport, or None once the client is gone."""
        return self._connection.transport

    @property
    def server(self) -> ServerObject:
        """The object that hooks are called with."""
        if self._server is None:
            self._server = ServerObject(self, self._hooks.template)
        return self._server

    @property
    def session(self) -> Session:
        """Aiosmtpd's session, with what is known now."""
        session = self._session
        if session is None:
            session = self._session = Session(self.loop)
            if self.transport is not None:
                session.peer = self.transport.get_extra_info("peername")
                session.ssl = _tls_facts(self.transport)
        state = self._connection.session.state
        session.extended_smtp = state.is_extended
        hooks = self._hooks.hooks
        if not state.helo or ("EHLO" if state.is_extended else "HELO") not in hooks:
            session.host_name = state.helo or session.host_name
        return session

    @property
    def envelope(self) -> Envelope:
        """Aiosmtpd's envelope, with what is known of the current transaction."""
        transaction = self._connection.session.state.transaction
        envelope = self._envelope
        if envelope is None or (self._bound is not None and self._bound is not transaction):
            envelope = self._envelope = Envelope()
        self._bound = transaction
        if transaction is not None:
            self._fill(
                envelope, transaction.sender, transaction.params, tuple(transaction.recipients)
            )
        return envelope

    def _fill(
        self, envelope: Envelope, sender: str, params: Params, recipients: tuple[Recipient, ...]
    ) -> None:
        hooks = self._hooks.hooks
        envelope.smtp_utf8 = bool(params) and any(name == "SMTPUTF8" for name, _ in params)
        if "MAIL" not in hooks:
            envelope.mail_from = sender or "<>"  # as aiosmtpd calls the null reverse-path
            envelope.mail_options = _options(params)
        if "RCPT" not in hooks:
            envelope.rcpt_tos = [one.address for one in recipients]
            envelope.rcpt_options = [
                text for one in recipients if one.params for text in _options(one.params)
            ]

    # --- decisions about commands

    def decide(self, request: Decide) -> None:
        """Call the hook of a command."""
        verb = request.verb
        session = self._connection.session
        if verb == "AUTH":
            words = request.argument.decode("ascii").split()
            self._begin(verb, lambda: self._log_in(words), self._logged_in)
            return
        self._begin(verb, lambda: self._call_hook(request), session.decided)

    async def _call_hook(self, request: Decide) -> Any:  # noqa: ANN401 - checked by `reply_of`
        verb, hooks = request.verb, self._hooks
        old = hooks.old_hooks.get(verb)
        if old is not None:
            warn_of(verb)
            await old(self.server)
        hook = hooks.hooks.get(verb)
        if hook is None:
            return MISSING
        lines = [] if request.reply is None else request.reply.lines()
        if verb == "EHLO" and hooks.is_ehlo_old:
            self._push_all([f"{line[:3]}-{line[4:]}" for line in lines[:-1]])
        arguments = self._arguments(verb, request.argument, lines)
        session, envelope = self.session, self.envelope
        return await _awaited(hook(self.server, session, envelope, *arguments))

    def _arguments(self, verb: str, argument: bytes, lines: list[str]) -> list[Any]:
        text = argument.decode("utf-8", "surrogateescape")
        transaction = self._connection.session.state.transaction
        if verb == "MAIL" and transaction is not None:
            return [transaction.sender or "<>", _options(transaction.params)]
        if verb == "RCPT" and transaction is not None:
            added = transaction.recipients[-1]
            return [added.address, _options(added.params)]
        if verb == "EHLO":
            return [text] if self._hooks.is_ehlo_old else [text, lines]
        if verb == "VRFY":
            return [text.strip().removeprefix("<").removesuffix(">")]
        if verb == "HELO":
            return [text]
        return [text or None] if verb == "NOOP" else []

    # --- messages

    def take(self, envelope: MailEnvelope, body: bytes) -> None:
        """Call the hook of a message; without one it is accepted."""
        hooks = self._hooks
        if "DATA" not in hooks.hooks and hooks.process_message is None:
            self._connection.session.taken(replies.OK)
            return
        given = self._envelope_of(envelope)
        content = self._content(body)
        if content is None:
            self._connection.declined(envelope, replies.BAD_CHARACTER)
            return
        given.content, given.original_content = content, body
        self._begin(
            "DATA",
            lambda: self._call_with(given),
            lambda reply: self._took(envelope, body, reply),
        )

    def _envelope_of(self, envelope: MailEnvelope) -> Envelope:
        bound, given = self._bound, self._envelope
        is_it = bound is None or (
            bound.sender == envelope.sender and tuple(bound.recipients) == envelope.recipients
        )
        if given is None or not is_it:
            given = self._envelope = Envelope()
        self._fill(given, envelope.sender, envelope.sender_params, envelope.recipients)
        return given

    def _content(self, body: bytes) -> bytes | str | None:
        """Return the content as the handler wants it, or None if it cannot be decoded."""
        if not self._hooks.is_decoding:
            return body
        if self._hooks.template.enable_SMTPUTF8:
            return body.decode("utf-8", "surrogateescape")
        return body.decode("ascii") if body.isascii() else None

    async def _call_with(self, envelope: Envelope) -> Any:  # noqa: ANN401 - checked later
        hooks, session = self._hooks, self.session
        hook = hooks.hooks.get("DATA")
        if hook is not None:
            return await _awaited(hook(self.server, session, envelope))
        warn_of("DATA")
        process = hooks.process_message
        if process is None:
            return None
        args = (session.peer, envelope.mail_from, envelope.rcpt_tos, envelope.content)
        status = await _awaited(process(*args))
        return "250 OK" if status is None else status

    def _took(self, envelope: MailEnvelope, body: bytes, given: Reply | None) -> None:
        self._envelope = self._bound = None
        reply = given or replies.OK
        if reply.code >= 400:
            self._connection.declined(envelope, reply)
        elif self._hooks.is_alone:
            self._connection.session.taken(reply)
        else:
            self._connection.keep(envelope, body)

    # --- logins

    async def _log_in(self, words: list[str]) -> Any:  # noqa: ANN401 - checked later
        state = self._connection.session.state
        status, user = await login_status(self._hooks, self.server, words)
        if user is not None and self._call is not None:
            state.log_in(user)
        return status

    def _logged_in(self, reply: Reply | None) -> None:
        session = self._connection.session
        if reply is not None and reply.code >= 400:
            session.state.log_in(None)
        session.decided(reply)

    async def challenge(self, text: bytes) -> bytes:
        """Send a challenge and return the client's response; the client's own time counts."""
        call = self._call
        if call is None or call.verb != "AUTH":
            raise RuntimeError("challenge_auth is for AUTH only")
        self._stop_timer(call)
        self._response = self.loop.create_future()
        self._connection.session.challenge(b"334 " + text + b"\r\n")
        if not call.is_starting:
            self._connection.answered()
        line = await self._response
        self._start_timer(call)
        return line

    def respond(self, line: bytes) -> None:
        """Pass on the client's response."""
        if self._response is not None and not self._response.done():
            self._response.set_result(line.strip())
            if self._call is not None:
                self._call.is_starting = False

    # --- PROXY and TLS

    def proxy(self, header: bytes) -> None:
        """Call the hook of a PROXY header; without one the client is refused, as in aiosmtpd."""
        hook = self._hooks.hooks.get("PROXY")
        if hook is None:
            self._connection.proxied(is_welcome=False)
            return
        self._begin(
            "PROXY",
            lambda: self._call_proxy(hook, header),
            lambda reply: self._connection.proxied(is_welcome=reply is None or reply.code < 400),
        )

    async def _call_proxy(self, hook: Callable[..., Any], header: bytes) -> str:
        reader = asyncio.StreamReader(loop=self.loop)
        reader.feed_data(header)
        reader.feed_eof()
        session = self.session
        session.proxy_data = await get_proxy(reader)
        is_welcome = session.proxy_data.valid and await _awaited(
            hook(self.server, session, self.envelope, session.proxy_data)
        )
        return "250 OK" if is_welcome else "554 refused"

    def encrypted(self) -> Reply | None:
        """Forget what was said in clear; return the handler's refusal of this TLS, or None."""
        self._session = self._envelope = self._bound = None
        hook = self._hooks.hooks.get("STARTTLS")
        if hook is None:
            return None
        try:
            is_enough = hook(self.server, self.session, self.envelope)
        except Exception as error:  # noqa: BLE001 - the handler's code
            self._log_failure("handle_STARTTLS", error)
            return replies.TLS_NOT_ENOUGH
        return None if is_enough else replies.TLS_NOT_ENOUGH

    # --- calls

    def _begin(
        self, verb: str, work: Callable[[], Any], answer: Callable[[Reply | None], None]
    ) -> None:
        call = self._call = _Call(verb, answer)
        task = start(self.loop, self._run(call, work))
        call.is_starting = False
        if not call.is_over:
            call.task = task

    async def _run(self, call: _Call, work: Callable[[], Any]) -> None:
        try:
            status = await self._watched(call, work)
        except ConnectionResetError:  # aiosmtpd closes the connection then
            self._over(call)
            self._connection.cut()
            return
        except asyncio.CancelledError:
            if call.is_over:
                raise
            self._answer(call, replies.INTERNAL)
        except Exception as error:  # noqa: BLE001 - the handler's code
            await self._handle_exception(call, error)
        else:
            self._answer(call, self._checked(call, status))

    def _watched(self, call: _Call, work: Callable[[], Any]) -> Awaitable[Any]:
        return watched(work, partial(self._blocked, call), partial(self._waits, call))

    def _waits(self, call: _Call) -> None:
        """Give up a hook that waits for too long; the time of a client's response is its own."""
        if call.timer is None and self._response is None and not call.is_over:
            self._start_timer(call)

    async def _handle_exception(self, call: _Call, error: Exception) -> None:
        """Answer 451, or as the handler's `handle_exception` says."""
        self._log_failure(call.hook, error)
        handle = getattr(self._hooks.handler, "handle_exception", None)
        reply: Reply | None = replies.INTERNAL
        if handle is not None and not call.is_over:
            try:
                status = await self._watched(call, partial(handle, error))
            except Exception as another:  # noqa: BLE001 - the handler's code
                self._log_failure("handle_exception", another)
            else:
                call.pushed.clear()
                reply = self._checked(call, status)
        self._answer(call, reply)

    def _checked(self, call: _Call, status: Any) -> Reply | None:  # noqa: ANN401
        """Return the reply that a hook returned, or None for the server's own."""
        if status is MISSING and not call.pushed:
            return None
        is_utf8 = self._envelope is not None and self._envelope.smtp_utf8
        lines = [*call.pushed, *(status if isinstance(status, (list, tuple)) else [status])]
        if status is None and len(lines) > 1:  # AUTH: the handler pushed its reply
            lines.pop()
        verb = "EHLO" if call.verb == "PROXY" else call.verb
        try:
            return reply_of(verb, lines, is_utf8=is_utf8)
        except UnfitReply as error:
            log, state = self._hooks.log, self._connection.session.state
            log.handler_told("handler reply refused", state, call.hook, reason=str(error))
            return replies.BYE if call.verb == "QUIT" else replies.INTERNAL

    def _answer(self, call: _Call, reply: Reply | None) -> None:
        if call.is_over:
            return
        is_starting = call.is_starting
        self._over(call)
        call.answer(reply)
        if not is_starting:
            self._connection.answered()

    def _over(self, call: _Call) -> None:
        call.is_over = True
        self._stop_timer(call)
        call.task = None
        self._response = None
        if self._call is call:
            self._call = None

    def _start_timer(self, call: _Call) -> None:
        call.timer = self.loop.call_later(self._hooks.seconds, self._give_up, call)

    @staticmethod
    def _stop_timer(call: _Call) -> None:
        if call.timer is not None:
            call.timer.cancel()
            call.timer = None

    def _give_up(self, call: _Call) -> None:
        """Answer 451 for a hook that takes too long, and cancel it."""
        task = call.task
        if call.is_over:
            return
        log, state = self._hooks.log, self._connection.session.state
        seconds = self._hooks.seconds
        log.handler_told("handler gave no answer", state, call.hook, seconds=seconds)
        self._answer(call, replies.HANDLER_SLOW)
        if task is not None:
            task.cancel()

    def drop(self) -> bool:
        """Cancel the current hook, as the client is gone; return whether there was one."""
        call = self._call
        if call is None:
            return False
        task = call.task
        self._over(call)
        if task is not None:
            task.cancel()
        return True

    def _blocked(self, call: _Call, seconds: float) -> None:
        log, state = self._hooks.log, self._connection.session.state
        log.handler_told("handler blocked the loop", state, call.hook, seconds=seconds)

    def _log_failure(self, hook: str, error: Exception) -> None:
        self._hooks.log.handler_failed(self._connection.session.state, hook, error)

    # --- lines sent by the handler

    def push(self, status: str | bytes) -> None:
        """Send a line before the reply of the current hook, or at once outside of a hook."""
        if self._call is not None:
            self._call.pushed.append(status)
            return
        reply = reply_of("VRFY", [status])
        session = self._connection.session
        session.output.append(reply.wire)
        self._connection.answered()

    def _push_all(self, lines: list[str]) -> None:
        if self._call is not None:
            self._call.pushed += lines


async def _awaited(result: Any) -> Any:  # noqa: ANN401 - a hook may be a plain function
    return await result if hasattr(result, "__await__") else result


def _options(params: Params) -> list[str]:
    """Return parameters as aiosmtpd gives them: in upper case."""
    return [(name if value is None else f"{name}={value}").upper() for name, value in params]


def _tls_facts(transport: Any) -> dict[str, Any] | None:  # noqa: ANN401
    """Return what a transport knows of its TLS, as asyncio keeps it, or None without TLS."""
    if transport.get_extra_info("ssl_object") is None:
        return None
    names = ("ssl_object", "sslcontext", "peercert", "cipher", "compression", "peername", "socket")
    return {name: transport.get_extra_info(name) for name in names}
