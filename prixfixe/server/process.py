"""The server process: event loop, signals, ready line, exit code.

The ready line is the first line on standard output, once every listener is bound. A start that
fails writes one line to standard error and exits with 2 or 3.
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
from prixfixe.connection.hooks import HandlerError
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
_SWITCH_SECONDS = 0.0001  # twice the loop's time for a message


async def _run(
    settings: Settings, notes: Sequence[str], output: OutputThread, *, tells_address: bool
) -> int:
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
    except (StoreOpenError, OSError, CertificateError, UsersError, HandlerError) as error:
        log.flush()
        output.drain()  # so that the reason is the last line if both streams are read together
        return _not_started(error)
    stop = _heed_signals(loop, server)
    log.flush()
    output.release(f"{bound.line()}\n")  # the ready line is an interface, and comes first
    log.say("ready", **bound._asdict(), version=__version__, pid=os.getpid())
    if tells_address:
        log.say("http address", text=f"accessible via {_local_url(bound.http)}")
    _calm_collector()
    await stop.wait()
    log.say("stopping", sessions=len(server.roster.connections))
    await server.stop()
    log.say("stopped")
    log.flush()
    return EXIT_OK


def _local_url(http: str | None) -> str:
    """Return where this machine reaches HTTP: an address that stands for all is none."""
    host, _, port = (http or "off").rpartition(":")
    host = "localhost" if host in ("[::]", "0.0.0.0") else host  # noqa: S104 - compared, not bound
    return f"http://{host}:{port}/"


def _count_descriptors(settings: Settings, log: Log) -> None:
    """Log it if there may be too few file descriptors."""
    http = 0
    if settings.http_port is not None:
        from prixfixe.http.connection import MAX_CONNECTIONS  # slow to import

        http = MAX_CONNECTIONS
    missing = shortage(settings, http)
    if missing is not None:
        log.say("too few descriptors", **missing._asdict())


def _heed_signals(loop: asyncio.AbstractEventLoop, server: Server) -> asyncio.Event:
    """Handle SIGHUP, SIGTERM and SIGINT; return the event that is set to stop the server."""
    stop = asyncio.Event()
    reloads: set[asyncio.Task[None]] = set()  # The loop itself has weak references to tasks.

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
    """Write the held records if a signal ends the process during the start."""
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
    """Print why the start failed, and return the exit code."""
    print(f"prixfixe: {_error_text(error)}", file=sys.stderr)  # noqa: T201 - the log has ended
    is_setting = isinstance(error, (CertificateError, UsersError, HandlerError))
    return EXIT_SETTINGS if is_setting else EXIT_CANNOT_START


def _error_text(error: Exception) -> str:
    """Return an error's text, without the error number before one of our own texts."""
    if isinstance(error, OSError) and error.strerror and error.filename is None:
        return error.strerror
    return str(error)


def give_back_memory() -> None:
    """Make glibc allocate buffers of large messages by mmap, so that freeing them returns memory.

    By default glibc raises its mmap threshold to the largest block ever freed, up to 32 MiB. Large
    buffers then fragment the heap, which keeps its size. Other C libraries have no such threshold.
    """
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE_OCTETS)


def _calm_collector() -> None:
    """Collect garbage rarely: sessions leave few cycles, and a collection delays every client.

    The entry point has turned the collector off, because imports make nothing to collect.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    gc.enable()


def _share_interpreter() -> None:
    """Let threads request the interpreter's lock after 0.1 ms instead of 5 ms.

    The loop releases the lock for each read, but too briefly for a thread that must wake up first.
    With 5 ms, the store's thread would wait for an idle loop at every statement of a commit.
    """
    sys.setswitchinterval(_SWITCH_SECONDS)


def serve(settings: Settings, notes: Sequence[str] = (), *, tells_address: bool = False) -> int:
    """Run a server until a signal ends it; return the exit code.

    `tells_address` adds a record like Mailpit's line, for which its users wait.
    """
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
            return runner.run(_run(settings, notes, output, tells_address=tells_address))
    finally:
        output.drain()
