"""The serving process: event loop, signals, ready line, exit code.

The ready line is the first line on standard output; it comes once every listener is bound. When the
start fails, one line on standard error says why, and the exit code is 2 or 3.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import os
import signal
import sys
from functools import partial
from typing import TYPE_CHECKING

import uvloop

from prixfixe import __version__
from prixfixe.auth.users_file import UsersError
from prixfixe.server.app import Server
from prixfixe.server.descriptors import raise_limit, shortage
from prixfixe.stores.base import StoreOpenError
from prixfixe.telemetry.log import build_log
from prixfixe.telemetry.log_output import OutputThread
from prixfixe.tls.certificates import CertificateError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType

    from prixfixe.settings import Settings
    from prixfixe.telemetry.log import Log

__all__ = ["give_back_memory", "serve"]

EXIT_OK = 0
EXIT_SETTINGS = 2
EXIT_CANNOT_START = 3

_M_MMAP_THRESHOLD = -3  # of glibc's malloc.h
_LARGE_OCTETS = 256 << 10
_SWITCH_SECONDS = 0.0001  # a message takes the loop half of that


async def _run(settings: Settings, notes: Sequence[str], output: OutputThread) -> int:
    loop = asyncio.get_running_loop()
    log = build_log(
        settings.log_level,
        settings.log_format,
        addresses=settings.log_addresses,
        stream=output,
        loop=loop,
    )
    log.forward_libraries()
    output.on_resumed = log.dropped
    for note in notes:
        log.say("setting without effect", reason=note)
    _count_descriptors(settings, log)
    try:
        server = Server(settings, log)
        output.on_dropped = server.metrics.log_dropped
        bound = await server.start()
    except (StoreOpenError, OSError, CertificateError, UsersError) as error:
        log.flush()
        output.drain()  # so that the reason is the last line where both streams are read together
        return _not_started(error)
    stop = _heed_signals(loop, server)
    log.flush()
    output.release(f"{bound.line()}\n")  # the ready line is an interface, and comes first
    log.say("ready", **bound._asdict(), version=__version__, pid=os.getpid())
    _calm_collector()
    await stop.wait()
    log.say("stopping", sessions=len(server.roster.connections))
    await server.stop()
    log.say("stopped")
    log.flush()
    return EXIT_OK


def _count_descriptors(settings: Settings, log: Log) -> None:
    """Say when there may be too few."""
    http = 0
    if settings.http_port is not None:
        from prixfixe.http.uvicorn_connection import MAX_CONNECTIONS  # uvicorn takes long to import

        http = MAX_CONNECTIONS
    missing = shortage(settings, http)
    if missing is not None:
        log.say("too few descriptors", **missing._asdict())


def _heed_signals(loop: asyncio.AbstractEventLoop, server: Server) -> asyncio.Event:
    """Reload and hurry when told to; return what is set when the server is to stop."""
    stop = asyncio.Event()
    reloads: set[asyncio.Task[None]] = set()  # The loop itself holds tasks weakly.

    def asked_to_stop() -> None:
        if stop.is_set():
            server.hurry()
        stop.set()

    def asked_to_reload() -> None:
        task = loop.create_task(server.reload())
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked_to_stop)
    loop.add_signal_handler(signal.SIGHUP, asked_to_reload)
    return stop


def _drain_when_stopped_early(output: OutputThread) -> None:
    """Write the records held so far when a signal ends the process while the server starts."""
    for number in (signal.SIGTERM, signal.SIGINT):
        handler = signal.getsignal(number)
        if callable(handler) and handler is not signal.default_int_handler:
            signal.signal(number, partial(_drain_and_end, output, handler))


def _drain_and_end(
    output: OutputThread,
    handler: Callable[[int, FrameType | None], object],
    number: int,
    frame: FrameType | None,
) -> None:
    output.drain()
    handler(number, frame)


def _not_started(error: Exception) -> int:
    """Say why, and return the exit code."""
    print(f"prixfixe: {_told(error)}", file=sys.stderr)  # noqa: T201 - a failed start's last word
    is_setting = isinstance(error, (CertificateError, UsersError))
    return EXIT_SETTINGS if is_setting else EXIT_CANNOT_START


def _told(error: Exception) -> str:
    """Return an error's text, without the system's number before one of ours."""
    if isinstance(error, OSError) and error.strerror and error.filename is None:
        return error.strerror
    return str(error)


def give_back_memory() -> None:
    """Have the buffers of large messages be mappings of their own, gone when they are freed.

    glibc maps what is large, but it raises the bar to the largest block that was ever freed, up to
    32 MiB: then growing buffers are copied about in a heap whose holes stay. Other libraries of C
    have no such bar.
    """
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE_OCTETS)


def _calm_collector() -> None:
    """Look for garbage seldom: a session's cycles are few, and a pause delays everyone."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def _share_interpreter() -> None:
    """Have threads ask for the interpreter's lock after 0.1 ms instead of 5.

    The loop gives it up for each read, too briefly for a thread that has to be woken first, so that
    one which keeps mail waits until the loop has nothing to do, at every statement of a commit.
    """
    sys.setswitchinterval(_SWITCH_SECONDS)


def serve(settings: Settings, notes: Sequence[str] = ()) -> int:
    """Run a server until a signal ends it; return the exit code."""
    raise_limit()
    give_back_memory()
    _share_interpreter()
    try:
        output = OutputThread(sys.stdout.fileno(), sys.stdout.encoding, is_held=True)
    except OSError as error:
        return _not_started(error)
    _drain_when_stopped_early(output)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_run(settings, notes, output))
    finally:
        output.drain()
