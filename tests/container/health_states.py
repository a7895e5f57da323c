"""The states a server can be in, and what its health checks must report in each.

A row says how to bring a running container into the state, and the three expected results: the
engine's (by the image's HEALTHCHECK), `/livez` and `/readyz`. `test_health` checks them.

Faults are made from outside or by a second process of the container. The state with a lost
listener is the exception, because only the server's own process can close its listening socket:
there a small program starts the image's server and closes the socket on request.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.container.box import PYTHON
from tests.container.profile import mail_on_tmpfs
from tests.container.talk import Crowd, body_of, envelope

if TYPE_CHECKING:
    from tests.container.box import Box

__all__ = ["STATES", "State"]

DEAF = """
import os, socket, sys, threading, time

def close_listener():
    while not os.path.exists("/tmp/deaf"):
        time.sleep(0.02)
    for name in os.listdir("/proc/self/fd"):
        try:
            one = socket.socket(fileno=os.dup(int(name)))
        except OSError:
            continue
        if one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) and one.getsockname()[1] == 2525:
            one.shutdown(socket.SHUT_RDWR)
        one.close()

from prixfixe.cli.main import main
threading.Thread(target=close_listener, daemon=True).start()
sys.exit(main(["serve"]))
"""
FILL = """
with open("/var/mail/ballast", "wb", buffering=0) as file:
    try:
        while True:
            file.write(bytes(65536))
    except OSError:
        pass
"""


FILL_NAMES = """
import itertools
try:
    for number in itertools.count():
        open(f"/var/mail/ballast{number}", "w")
except OSError:
    pass
"""


@dataclass(frozen=True)
class State:
    """One row: how to get there, and the three verdicts. None is no answer in time."""

    arrange: Callable[[Box], AbstractContextManager[None]]
    is_healthy: bool
    livez: int | None
    readyz: int | None
    environ: dict[str, str] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    is_cured: bool = True  # when the arrangement ends, it is healthy again


@contextlib.contextmanager
def idle(_box: Box) -> Iterator[None]:
    yield


@contextlib.contextmanager
def busy(box: Box) -> Iterator[None]:
    with Crowd(box.hello, 8):
        yield


@contextlib.contextmanager
def slots_taken(box: Box) -> Iterator[None]:
    with box.hello(), box.hello():
        with box.connect() as third:
            assert third.reply().startswith(b"421 4.3.2 ")
        yield


@contextlib.contextmanager
def in_data(box: Box) -> Iterator[None]:
    with box.hello() as wire:
        envelope(wire)
        yield


@contextlib.contextmanager
def wedged(box: Box) -> Iterator[None]:
    box.signal("SIGSTOP")
    try:
        yield
    finally:
        box.signal("SIGCONT")


@contextlib.contextmanager
def deaf(box: Box) -> Iterator[None]:
    box.is_trouble_expected = True
    box.python("open('/tmp/deaf', 'w')")
    yield


@contextlib.contextmanager
def full(box: Box) -> Iterator[None]:
    box.python(FILL)
    with box.hello() as wire:
        envelope(wire)
        wire.send(body_of(1000) + b".\r\n")
        assert wire.reply().startswith(b"452 4.3.1 ")
    yield
    box.python("import os; os.unlink('/var/mail/ballast')")


@contextlib.contextmanager
def without_inodes(box: Box) -> Iterator[None]:
    box.python(FILL_NAMES)
    yield
    box.python("import glob, os; [os.unlink(one) for one in glob.glob('/var/mail/ballast*')]")


@contextlib.contextmanager
def not_writable(box: Box) -> Iterator[None]:
    box.python("import os; os.chmod('/var/mail', 0o500)")
    yield
    box.python("import os; os.chmod('/var/mail', 0o700)")


@contextlib.contextmanager
def draining(box: Box) -> Iterator[None]:
    with box.hello() as wire:
        envelope(wire)
        box.signal("SIGTERM")
        yield
        wire.send(b"Subject: last\r\n\r\n.\r\n")
        assert wire.reply().startswith(b"250 ")
    assert box.exit_code() == 0


STATES: dict[str, State] = {
    "idle": State(idle, is_healthy=True, livez=200, readyz=200),
    "busy": State(busy, is_healthy=True, livez=200, readyz=200),
    "all client slots taken": State(
        slots_taken, is_healthy=True, livez=200, readyz=200, environ={"SMTP_MAX_CONNECTIONS": "2"}
    ),
    "a client in the middle of a message": State(in_data, is_healthy=True, livez=200, readyz=200),
    "wedged": State(wedged, is_healthy=False, livez=None, readyz=None),
    "listener gone": State(
        deaf,
        is_healthy=False,
        livez=200,
        readyz=503,
        options={"entrypoint": [PYTHON, "-IBc"], "command": [DEAF]},
        is_cured=False,
    ),
    "volume full": State(
        full,
        is_healthy=False,
        livez=200,
        readyz=503,
        environ={"SMTP_STORE_MIN_FREE": "1MiB"},
        options=mail_on_tmpfs("6m"),
    ),
    "volume out of inodes": State(
        without_inodes,
        is_healthy=False,
        livez=200,
        readyz=503,
        environ={"SMTP_STORE_MIN_FREE": "1MiB"},
        options=mail_on_tmpfs("6m,nr_inodes=40"),
    ),
    "volume not writable": State(not_writable, is_healthy=False, livez=200, readyz=503),
    "draining": State(
        draining,
        is_healthy=False,
        livez=200,
        readyz=503,
        environ={"SMTP_SHUTDOWN_TIMEOUT": "60"},  # it drains for as long as it is looked at
        is_cured=False,
    ),
}
