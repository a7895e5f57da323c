"""Log records: text on a terminal, JSON lines otherwise; what every record of a session says.

Owns: the structlog pipeline, the sink on standard output, and the vocabulary of session events.
Promises: text that came from a client is capped and holds no control character; bodies, passwords
and SASL responses are never passed in; a reader of standard output that went away stops nothing;
records of one turn of the event loop leave in one write, and the record of a message or session
within DEFER_SECONDS.
Refuses: files, rotation, shipping: the container's log driver does that.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import traceback
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TextIO

import structlog

from prixfixe.loglines import Stamp, clean, kept_line, session_line

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, MutableMapping

    from prixfixe.message import Message
    from prixfixe.session.dialogue import Dialogue

__all__ = ["LineSink", "Log", "build_log"]

DEFER_SECONDS = 0.05
MAX_DEFERRED = 200  # lines, about 50 kB: a pipe takes 64 KiB without a wait
LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}


def _ignore(_level: str) -> None:
    """Count nothing."""


class LineSink:
    """Write lines to a stream, those of one turn of the event loop together.

    The lines that come thousands of times a second, `defer` holds a little longer: a system call
    for each turn would take more time than making the lines. Order is kept.
    """

    def __init__(self, stream: TextIO, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self._stream = stream
        self._loop = loop
        self._lines: list[str] = []
        self._is_deferred = False
        self.count: Callable[[str], None] = _ignore

    def msg(self, line: str) -> None:
        """Take one line, from any thread."""
        self._lines.append(line)
        if self._loop is None or self._loop.is_closed():
            self.flush()
        elif len(self._lines) == 1 or self._is_deferred:
            self._is_deferred = False
            self._loop.call_soon_threadsafe(self.flush)

    debug = info = warning = error = critical = msg

    def defer(self, line: str) -> None:
        """Take one line on the event loop that may wait for DEFER_SECONDS, unless many do."""
        lines = self._lines
        lines.append(line)
        if len(lines) >= MAX_DEFERRED or self._loop is None:
            self.flush()
        elif len(lines) == 1:
            self._is_deferred = True
            self._loop.call_later(DEFER_SECONDS, self.flush)

    def flush(self) -> None:
        """Write what was taken."""
        self._is_deferred = False
        if count := len(self._lines):
            text = "\n".join([*self._lines[:count], ""])
            del self._lines[:count]  # no more than that: another thread may have added one
            try:
                self._stream.write(text)
                self._stream.flush()
            except (OSError, ValueError):  # Whoever read our output is gone; mail goes on.
                pass


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


class _Forward(logging.Handler):
    """Take the records of libraries (uvicorn, asyncio) into the same stream."""

    def __init__(self, logger: Any) -> None:  # noqa: ANN401
        super().__init__(logging.WARNING)
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        level = record.levelname.lower()
        log = getattr(self._logger, level, self._logger.warning)
        log(
            record.getMessage(),
            logger=record.name,
            **_trace(record.exc_info and record.exc_info[1]),
        )


def _told(error: BaseException) -> str:
    """Return a text for an error; not its repr, which shows what a codec could not decode."""
    return f"{type(error).__name__}: {error}"


def _trace(error: BaseException | None) -> dict[str, str]:
    return {"trace": "".join(traceback.format_exception(error))} if error else {}


class Log:
    """What the server and its sessions have to say."""

    def __init__(
        self,
        logger: Any,  # noqa: ANN401 - structlog's loggers have no common type
        sink: LineSink,
        stamp: Stamp | None = None,
    ) -> None:
        self._stamp = stamp  # not None: the records of `loglines` are wanted
        self.info = logger.info
        self.warning = logger.warning
        self.error = logger.error
        self.debug = logger.debug
        self._sink = sink
        self._logger = logger

    def forward_libraries(self) -> None:
        """Take over the warnings of the libraries in use; aiosmtpd's own logger stays silent."""
        handler = _Forward(self._logger)
        for name in ("uvicorn.error", "asyncio"):
            library = logging.getLogger(name)
            library.handlers = [handler]
            library.propagate = False
        for name in ("mail.log", "mail.debug"):  # They would repeat what clients sent.
            silent = logging.getLogger(name)
            silent.handlers = [logging.NullHandler()]
            silent.propagate = False

    def flush(self) -> None:
        """Write what is waiting."""
        self._sink.flush()

    def count_with(self, count: Callable[[str], None]) -> None:
        """Tell this of every record's level from now on."""
        self._sink.count = count

    def message_kept(self, message: Message, seconds: float) -> None:
        """Record an accepted message: what it was, never what it said."""
        if self._stamp is not None:
            self._sink.count("info")
            self._sink.defer(kept_line(message, seconds, self._stamp(time.time())))
        else:
            self._say_kept(message, seconds)

    def _say_kept(self, message: Message, seconds: float) -> None:
        envelope = message.envelope
        self.info(
            "message kept",
            id=message.id,
            peer=envelope.peer,
            sender=envelope.sender,
            recipients=len(envelope.recipients),
            recipient=envelope.recipients[0].address if envelope.recipients else "",
            size=len(message.body),
            protocol=envelope.protocol,
            ms=round(seconds * 1000, 2),
        )

    def message_deferred(self, message: Message, reason: str) -> None:
        """Record a message that could not be kept and why."""
        self.warning(
            "message deferred",
            id=message.id,
            peer=message.envelope.peer,
            size=len(message.body),
            reason=reason,
        )

    def settled_late(self, message: Message, error: BaseException | None) -> None:
        """Record what became of a message whose client was answered before the store did."""
        self.warning(
            "store answered late",
            id=message.id,
            peer=message.envelope.peer,
            kept=error is None,
            reason=_told(error) if error else "",
        )

    def session_ended(self, dialogue: Dialogue, end: str, seconds: float) -> None:
        """Record the end of a client's session."""
        if self._stamp is not None:
            self._sink.count("info")
            self._sink.defer(session_line(dialogue, end, seconds, self._stamp(time.time())))
        else:
            self._say_ended(dialogue, end, seconds)

    def _say_ended(self, dialogue: Dialogue, end: str, seconds: float) -> None:
        self.info(
            "session ended",
            peer=dialogue.peer,
            helo=dialogue.helo,
            tls=dialogue.tls,
            user=dialogue.user,
            messages=dialogue.messages,
            errors=dialogue.errors,
            limit=dialogue.limit,
            end=end,
            seconds=round(seconds, 3),
        )

    def refused(self, peer: str, reason: str) -> None:
        """Record a connection that was turned away."""
        self.warning("connection refused", peer=peer, reason=reason)

    def tls_failed(self, peer: str, mode: str, error: Exception | None) -> None:
        """Record a handshake that failed, or that its client or its time ended."""
        reason = "broken off" if error is None else str(error) or type(error).__name__
        self.info("tls handshake failed", peer=peer, mode=mode, reason=reason)

    def unexpected(self, peer: str, error: BaseException) -> None:
        """Record a defect of ours, with its traceback."""
        self.error("unexpected error", peer=peer, reason=_told(error), **_trace(error))


def build_log(
    level: str,
    log_format: str | None,
    *,
    stream: TextIO | None = None,
    loop: asyncio.AbstractEventLoop | None = None,
) -> Log:
    """Return a log for standard output; `log_format` None asks whether that is a terminal."""
    stream = sys.stdout if stream is None else stream
    is_text = log_format == "text" or (log_format is None and stream.isatty())
    sink = LineSink(stream, loop)

    def counting(_logger: object, name: str, record: Any) -> Any:  # noqa: ANN401
        sink.count(name)
        return record

    logger = structlog.wrap_logger(
        sink,
        processors=[counting, _stamp, _clean_all, _to_text if is_text else _to_json],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        cache_logger_on_first_use=True,
    )
    is_fast = not is_text and LEVELS[level] <= LEVELS["info"]
    return Log(logger, sink, Stamp() if is_fast else None)
