"""The log of the server and its sessions; each record is an event of the table.

Message bodies, passwords and SASL responses are never logged.
"""

from __future__ import annotations

import logging
import sys
import time
import traceback
from typing import TYPE_CHECKING, NamedTuple, Protocol

from prixfixe.telemetry.events import EVENTS
from prixfixe.telemetry.log_format import ADDRESS_MASKS, LogFormat
from prixfixe.telemetry.log_output import LineBuffer
from prixfixe.telemetry.log_throttle import LogThrottle

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from prixfixe.mail.message import Message
    from prixfixe.telemetry.events import Event
    from prixfixe.telemetry.log_output import Stream

__all__ = ["Log", "LoggedSession", "build_log"]

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}


class LoggedSession(Protocol):
    """The facts of an SMTP session that its records contain."""

    session_id: str
    peer: str
    helo: str
    tls: str | None
    user: str | None
    mechanism: str
    messages: int
    errors: int
    limit: str


class LogOptions(NamedTuple):
    """The lowest level that is written, the format, and the loop that timers run on."""

    level: str
    log_format: LogFormat
    loop: asyncio.AbstractEventLoop | None = None


class _LibraryHandler(logging.Handler):
    """Write the warnings and errors of asyncio and of the HTTP server as records of the table."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        name = "library error" if record.levelno >= logging.ERROR else "library warning"
        error = record.exc_info and record.exc_info[1]
        trace = _traceback(error) if error else None
        self._log.say(name, logger=record.name, text=record.getMessage(), trace=trace)


def _reason(error: BaseException) -> str:
    """Return type and text of an error; the repr of a codec's error would show its input."""
    return f"{type(error).__name__}: {error}"


def _traceback(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


def _ignore(**_fields: object) -> None:
    """Do nothing: the writer of an event below the lowest level."""


def _count_nothing(_level: str) -> None:
    """Do nothing: the default of `count_with`."""


class _Writers(dict[str, "Callable[..., None]"]):
    """The writers of events by name, each made at its first use."""

    def __init__(self, make: Callable[[str], Callable[..., None]]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, name: str) -> Callable[..., None]:
        writer = self[name] = self._make(name)
        return writer


class Log:
    """The log of one server. Any thread may call it, except `message_kept` and `session_ended`."""

    def __init__(self, lines: LineBuffer, options: LogOptions) -> None:
        self._lines = lines
        self._format = options.log_format
        self._lowest = LEVELS[options.level]
        self._throttle = LogThrottle(time.monotonic, self._tell_withheld, options.loop)
        self._writers = _Writers(self._make_writer)
        self._count: Callable[[str], None] = _count_nothing

    def say(self, name: str, **fields: object) -> None:
        """Write a record of an event, unless its level is too low or there were too many.

        Raises:
            KeyError: the table has no such event.
            TypeError: the fields are not those of the event.

        """
        self._writers[name](**fields)

    def _make_writer(self, name: str) -> Callable[..., None]:
        event = EVENTS[name]
        if LEVELS[event.level] < self._lowest:
            return _ignore
        write = self._format.writer(name, self._putter(event))
        if not event.is_limited:
            return write

        def write_if_allowed(**fields: object) -> None:
            if self._throttle.allows(name):
                write(**fields)

        return write_if_allowed

    def _putter(self, event: Event) -> Callable[[str], None]:
        add = self._lines.add_deferred if event.is_frequent else self._lines.add

        def put(line: str) -> None:
            self._count(event.level)
            add(line)

        return put

    def _tell_withheld(self, name: str, count: int) -> None:
        self.say("records withheld", of=name, suppressed=count)

    def forward_libraries(self) -> None:
        """Log the warnings of libraries as events, and silence aiosmtpd's loggers."""
        handler = _LibraryHandler(self)
        for name in ("prixfixe.http", "asyncio"):
            library = logging.getLogger(name)
            library.handlers = [handler]
            library.propagate = False
        for name in ("mail.log", "mail.debug"):  # They would repeat what clients sent.
            silent = logging.getLogger(name)
            silent.handlers = [logging.NullHandler()]
            silent.propagate = False

    def flush(self) -> None:
        """Write all buffered records, and how many records were withheld so far."""
        self._throttle.end_window()
        self._lines.flush()

    def count_with(self, count: Callable[[str], None]) -> None:
        """Call `count` with the level of every record from now on."""
        self._count = count

    def dropped(self, count: int) -> None:
        """Record how many records were dropped because standard output was not read."""
        self.say("records dropped", suppressed=count)

    # --- messages

    def message_kept(self, message: Message, session: LoggedSession, seconds: float) -> None:
        """Record a message that was stored `seconds` after the end of its data."""
        envelope = message.envelope
        recipients = envelope.recipients
        self._writers["message kept"](
            session=session.session_id,
            id=message.id,
            peer=envelope.peer,
            sender=envelope.sender,
            recipients=len(recipients),
            recipient=recipients[0].address if recipients else "",
            size=len(message.body),
            protocol=envelope.protocol,
            ms=seconds * 1000,
        )

    def message_refused(
        self,
        session: LoggedSession,
        sender: str,
        recipients: Sequence[str],
        reply: str,
        reason: str,
    ) -> None:
        """Record a message that was refused, with its recipients."""
        self.say(
            "message refused",
            **_of_session(session),
            sender=sender,
            recipients=len(recipients),
            recipient=recipients[0] if recipients else "",
            reply=reply,
            reason=reason,
        )

    def recipient_refused(
        self, session: LoggedSession, sender: str, reply: str, address: str
    ) -> None:
        """Record a recipient that was refused; "" if its RCPT names none."""
        self.say(
            "recipient refused",
            **_of_session(session),
            sender=sender,
            recipient=address,
            reply=reply,
        )

    def message_deferred(self, message: Message, session: LoggedSession, reason: str) -> None:
        """Record a message that could not be stored, and why."""
        self.say(
            "message deferred",
            **_of_message(message, session),
            size=len(message.body),
            reason=reason,
        )

    def stored_late(
        self, message: Message, session: LoggedSession, error: BaseException | None
    ) -> None:
        """Record the store's result for a message whose client had already been sent 451."""
        reason = _reason(error) if error else ""
        self.say(
            "store answered late",
            **_of_message(message, session),
            kept=error is None,
            reason=reason,
        )

    # --- sessions

    def session_began(self, session: LoggedSession, listener: str) -> None:
        """Record an admitted client."""
        self._writers["session began"](
            session=session.session_id, peer=session.peer, listener=listener
        )

    def session_ended(self, session: LoggedSession, end: str, seconds: float) -> None:
        """Record the end of a session: how it ended and how long it lasted."""
        self._writers["session ended"](
            session=session.session_id,
            peer=session.peer,
            helo=session.helo,
            tls=session.tls,
            user=session.user,
            messages=session.messages,
            errors=session.errors,
            limit=session.limit,
            end=end,
            seconds=seconds,
        )

    def refused(self, session: LoggedSession, listener: str, reason: str) -> None:
        """Record a refused connection."""
        self.say("connection refused", **_of_session(session), listener=listener, reason=reason)

    def tls_failed(self, session: LoggedSession, mode: str, error: Exception | None) -> None:
        """Record a failed handshake; without an error, the client left or its time was over."""
        reason = "broken off" if error is None else str(error) or type(error).__name__
        self.say("tls handshake failed", **_of_session(session), mode=mode, reason=reason)

    def login_refused(self, session: LoggedSession, reason: str) -> None:
        """Record a refused login, without the user: people type passwords there."""
        self.say(
            "login refused", **_of_session(session), mechanism=session.mechanism, reason=reason
        )

    def logins_locked_out(self, network: str, failures: int, seconds: float) -> None:
        """Record that a network is locked out for so many seconds."""
        self.say("logins locked out", network=network, failures=failures, lockout=seconds)

    # --- handlers

    def handler_failed(self, session: LoggedSession, hook: str, error: BaseException) -> None:
        """Record an exception of a handler's hook with its traceback."""
        trace = _traceback(error)
        about = _of_session(session)
        self.say("handler failed", **about, hook=hook, reason=_reason(error), trace=trace)

    def handler_told(self, event: str, session: LoggedSession, hook: str, **fields: object) -> None:
        """Record another event of a handler's hook."""
        self.say(event, **_of_session(session), hook=hook, **fields)

    def unexpected(self, error: BaseException, session: LoggedSession | None = None) -> None:
        """Record an unexpected exception with its traceback."""
        about = _of_session(session) if session else {}
        self.say("unexpected error", **about, reason=_reason(error), trace=_traceback(error))


def _of_session(session: LoggedSession) -> dict[str, str]:
    return {"session": session.session_id, "peer": session.peer}


def _of_message(message: Message, session: LoggedSession) -> dict[str, str]:
    return {"session": session.session_id, "id": message.id, "peer": message.envelope.peer}


def build_log(
    level: str,
    log_format: str | None,
    *,
    addresses: str = "full",
    stream: Stream | None = None,
    loop: asyncio.AbstractEventLoop | None = None,
) -> Log:
    """Return a log that writes to a stream, by default standard output.

    `log_format` is json, text, or None for text on a terminal and JSON elsewhere. `addresses` says
    how much of an address is logged: full, domain or none.
    """
    stream = sys.stdout if stream is None else stream
    is_text = log_format == "text" or (log_format is None and stream.isatty())
    form = LogFormat(is_text, ADDRESS_MASKS[addresses])
    return Log(LineBuffer(stream, loop), LogOptions(level, form, loop))
