"""Log records: text on a terminal, JSON lines otherwise; what every record of a session says.

Owns: the structlog pipeline, and what is said of sessions and messages.
Promises: only what `events` lists is written; text that came from a client is capped and holds no
control character; bodies, passwords and SASL responses are never passed in.
Refuses: files, rotation, shipping: the container's log driver does that. Streams: see `linesink`.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
import traceback
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import structlog

from prixfixe.telemetry.events import ADDRESSES, EVENTS
from prixfixe.telemetry.log_format import HIDERS, Stamp, clean, kept_line, session_line
from prixfixe.telemetry.log_output import LineSink
from prixfixe.telemetry.log_throttle import Restraint

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, MutableMapping

    from prixfixe.mail.message import Message
    from prixfixe.smtp.replies import Reply
    from prixfixe.smtp.state import State
    from prixfixe.smtp.transaction import Transaction
    from prixfixe.telemetry.log_format import Hide
    from prixfixe.telemetry.log_output import Stream

__all__ = ["Log", "build_log"]

_PATH = re.compile(rb"<([^<>]*)>")  # of an argument that may not be one
LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}


def _clean_all(_logger: object, _name: str, record: MutableMapping[str, Any]) -> Any:  # noqa: ANN401
    for key, value in record.items():
        if type(value) is str and key != "trace":
            record[key] = clean(value)
    return record


def _stamp(_logger: object, name: str, record: MutableMapping[str, Any]) -> Any:  # noqa: ANN401
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    return {"time": now[:-6] + "Z", "level": name, "event": record.pop("event", ""), **record}


def _to_json(_logger: object, _name: str, record: MutableMapping[str, Any]) -> str:
    return json.dumps(record, default=str, separators=(",", ":"))


def _to_text(_logger: object, _name: str, record: MutableMapping[str, Any]) -> str:
    fields = dict(record)
    head = f"{fields.pop('time')} {fields.pop('level'):<8}{fields.pop('event')}"
    trace = fields.pop("trace", None)
    line = " ".join([head, *(f"{key}={_quoted(value)}" for key, value in fields.items())])
    return line if trace is None else f"{line}\n{trace}"


def _quoted(value: object) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if " " in text or '"' in text else text


class LogOptions(NamedTuple):
    """How a log is kept; `stamp` is there when the records of `loglines` are wanted."""

    level: str
    stamp: Stamp | None
    hide: Hide | None
    loop: asyncio.AbstractEventLoop | None = None


class _Forward(logging.Handler):
    """Take the records of libraries (uvicorn, asyncio) into the same stream."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        name = "library error" if record.levelno >= logging.ERROR else "library warning"
        trace = _trace(record.exc_info and record.exc_info[1])
        self._log.say(name, logger=record.name, text=record.getMessage(), **trace)


def _told(error: BaseException) -> str:
    """Return a text for an error; not its repr, which shows what a codec could not decode."""
    return f"{type(error).__name__}: {error}"


def _trace(error: BaseException | None) -> dict[str, str]:
    return {"trace": "".join(traceback.format_exception(error))} if error else {}


class Log:
    """What the server and its sessions have to say: events of `events`, nothing else."""

    def __init__(self, logger: Any, sink: LineSink, options: LogOptions) -> None:  # noqa: ANN401
        self._logger = logger  # structlog's loggers have no common type
        self._sink = sink
        self._stamp = options.stamp
        self._hide = options.hide
        self._lowest = LEVELS[options.level]
        self._restraint = Restraint(time.monotonic, self._withheld, options.loop)

    def say(self, name: str, **fields: Any) -> None:  # noqa: ANN401
        """Write a record of an event, unless its level is not wanted or too many came."""
        event = EVENTS[name]
        if LEVELS[event.level] < self._lowest:
            return
        if not event.is_limited or self._restraint.admits(name):
            getattr(self._logger, event.level)(name, **fields)

    def _withheld(self, name: str, count: int) -> None:
        self.say("records withheld", of=name, suppressed=count)

    def forward_libraries(self) -> None:
        """Take over the warnings of the libraries in use; aiosmtpd's own logger stays silent."""
        handler = _Forward(self)
        for name in ("uvicorn.error", "asyncio"):
            library = logging.getLogger(name)
            library.handlers = [handler]
            library.propagate = False
        for name in ("mail.log", "mail.debug"):  # They would repeat what clients sent.
            silent = logging.getLogger(name)
            silent.handlers = [logging.NullHandler()]
            silent.propagate = False

    def flush(self) -> None:
        """Write what is waiting, and what was withheld so far."""
        self._restraint.settle()
        self._sink.flush()

    def count_with(self, count: Callable[[str], None]) -> None:
        """Tell this of every record's level from now on."""
        self._sink.count = count

    def dropped(self, count: int) -> None:
        """Record how many records found nobody who read them."""
        self.say("records dropped", suppressed=count)

    # --- messages

    def message_kept(self, message: Message, dialogue: State, seconds: float) -> None:
        """Record an accepted message: what it was, never what it said."""
        if self._stamp is not None:
            self._sink.count("info")
            stamp, session = self._stamp(time.time()), dialogue.session_id
            self._sink.defer(kept_line(message, session, seconds, stamp, self._hide))
        else:
            self._say_kept(message, dialogue, seconds)

    def _say_kept(self, message: Message, dialogue: State, seconds: float) -> None:
        envelope = message.envelope
        self.say(
            "message kept",
            **_of_message(message, dialogue),
            sender=envelope.sender,
            recipients=len(envelope.recipients),
            recipient=envelope.recipients[0].address if envelope.recipients else "",
            size=len(message.body),
            protocol=envelope.protocol,
            ms=round(seconds * 1000, 2),
        )

    def message_refused(
        self, dialogue: State, transaction: Transaction | None, reply: Reply, reason: str
    ) -> None:
        """Record a message that was refused for good, and to whom it would have gone."""
        recipients = transaction.recipients if transaction else []
        self.say(
            "message refused",
            **_of_session(dialogue),
            sender=transaction.sender if transaction else "",
            recipients=len(recipients),
            recipient=recipients[0].address if recipients else "",
            reply=str(reply),
            reason=reason,
        )

    def recipient_refused(
        self, dialogue: State, sender: str, reply: Reply, argument: bytes
    ) -> None:
        """Record a recipient that was refused, as far as the argument of RCPT names one."""
        found = _PATH.search(argument)
        address = found[1].decode("utf-8", "replace") if found else ""
        self.say(
            "recipient refused",
            **_of_session(dialogue),
            sender=sender,
            recipient=address if address.isprintable() else "",
            reply=str(reply),
        )

    def message_deferred(self, message: Message, dialogue: State, reason: str) -> None:
        """Record a message that could not be kept and why."""
        about = _of_message(message, dialogue)
        self.say("message deferred", **about, size=len(message.body), reason=reason)

    def settled_late(self, message: Message, dialogue: State, error: BaseException | None) -> None:
        """Record what became of a message whose client was answered before the store did."""
        self.say(
            "store answered late",
            **_of_message(message, dialogue),
            kept=error is None,
            reason=_told(error) if error else "",
        )

    # --- sessions

    def session_began(self, dialogue: State, listener: str) -> None:
        """Record a client that was let in."""
        if self._lowest <= LEVELS["debug"]:
            self.say("session began", **_of_session(dialogue), listener=listener)

    def session_ended(self, dialogue: State, end: str, seconds: float) -> None:
        """Record the end of a client's session."""
        if self._stamp is not None:
            self._sink.count("info")
            stamp = self._stamp(time.time())
            self._sink.defer(session_line(dialogue, end, seconds, stamp, self._hide))
        else:
            self._say_ended(dialogue, end, seconds)

    def _say_ended(self, dialogue: State, end: str, seconds: float) -> None:
        self.say(
            "session ended",
            **_of_session(dialogue),
            helo=dialogue.helo,
            tls=dialogue.tls,
            user=dialogue.user,
            messages=dialogue.messages,
            errors=dialogue.errors,
            limit=dialogue.limit,
            end=end,
            seconds=round(seconds, 3),
        )

    def refused(self, dialogue: State, listener: str, reason: str) -> None:
        """Record a connection that was turned away."""
        about = _of_session(dialogue)
        self.say("connection refused", **about, listener=listener, reason=reason)

    def tls_failed(self, dialogue: State, mode: str, error: Exception | None) -> None:
        """Record a handshake that failed, or that its client or its time ended."""
        reason = "broken off" if error is None else str(error) or type(error).__name__
        self.say("tls handshake failed", **_of_session(dialogue), mode=mode, reason=reason)

    def login_refused(self, dialogue: State, reason: str) -> None:
        """Record credentials that were not accepted; not the user: people type passwords there."""
        about = _of_session(dialogue)
        self.say("login refused", **about, mechanism=dialogue.mechanism, reason=reason)

    def logins_locked_out(self, network: str, failures: int, seconds: float) -> None:
        """Record that no login of this network is heard for so many seconds."""
        self.say("logins locked out", network=network, failures=failures, lockout=seconds)

    def unexpected(self, error: BaseException, dialogue: State | None = None) -> None:
        """Record a defect of ours, with its traceback."""
        about = _of_session(dialogue) if dialogue else {}
        self.say("unexpected error", **about, reason=_told(error), **_trace(error))


def _of_session(dialogue: State) -> dict[str, str]:
    return {"session": dialogue.session_id, "peer": dialogue.peer}


def _of_message(message: Message, dialogue: State) -> dict[str, str]:
    return {"session": dialogue.session_id, "id": message.id, "peer": message.envelope.peer}


def build_log(
    level: str,
    log_format: str | None,
    *,
    addresses: str = "full",
    stream: Stream | None = None,
    loop: asyncio.AbstractEventLoop | None = None,
) -> Log:
    """Return a log for standard output; `log_format` None asks whether that is a terminal.

    `addresses` is full, domain or none: how people's addresses are shown.
    """
    stream = sys.stdout if stream is None else stream
    is_text = log_format == "text" or (log_format is None and stream.isatty())
    sink, hide = LineSink(stream, loop), HIDERS[addresses]

    def hiding(_logger: object, _name: str, record: Any) -> Any:  # noqa: ANN401
        if hide is not None:
            record |= {name: hide(record[name]) for name in ADDRESSES & record.keys()}
        return record

    def counting(_logger: object, name: str, record: Any) -> Any:  # noqa: ANN401
        sink.count(name)
        return record

    logger = structlog.wrap_logger(
        sink,
        processors=[
            *(counting, hiding, _stamp, _clean_all),
            _to_text if is_text else _to_json,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        cache_logger_on_first_use=True,
    )
    is_fast = not is_text and LEVELS[level] <= LEVELS["info"]
    return Log(logger, sink, LogOptions(level, Stamp() if is_fast else None, hide, loop))
