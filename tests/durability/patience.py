"""F11, F12 and F15: a slow disk, a client that disconnects, and SIGTERM at each stage of a session.

strace delays one sync of the thread that writes the store. Another session must be answered before
that commit ends; how fast it was answered is reported, not judged.
"""

from __future__ import annotations

import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from prixfixe.verify.dialogue.wire import ClosedError
from tests.durability import strace
from tests.durability.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.durability.client import Client
    from tests.durability.ledger import Sent
    from tests.durability.rig import Running, Stand

__all__ = ["STOPS", "client_gone", "dead_disk", "slow_disk", "stop_at"]

SECONDS = 10  # at most: a hold is let go as soon as what had to come first has come
NOOPS = 50


@contextmanager
def held_commit(stand: Stand, client: Client, seconds: float = SECONDS) -> Iterator[Sent]:
    """Hold the first sync of one message until the block ends, for so many seconds at most."""
    server = stand.server
    assert server is not None
    call = "fdatasync" if stand.technology == "sqlite" else "fsync"
    with strace.attached(server.writer, *strace.inject(call, f"delay_exit={seconds * 1_000_000}")):
        yield client.offer()


def slow_disk(stand: Stand) -> tuple[list[str], float]:
    """F11: answer another session while a sync is held; return the slowest answer in ms."""
    stand.start()
    stand.send()
    problems, took = [], []
    with stand.client() as waiting, stand.client() as witness:
        with held_commit(stand, waiting) as sent:
            for _ in range(NOOPS):
                began = time.perf_counter()
                witness.noop()
                took.append(time.perf_counter() - began)
            if waiting.wire.has_more(0):
                problems.append("the commit was answered before the other session's NOOPs")
        if waiting.hear(sent) != 250:
            problems.append(f"after the delay the answer was {sent.code}")
    return problems + stand.problems(), max(took) * 1000


def dead_disk(stand: Stand) -> list[str]:
    """F11: a disk that does not answer holds nobody for longer than SMTP_STORE_TIMEOUT."""
    stand.start()
    stand.send()
    problems = []
    with stand.client() as waiting, held_commit(stand, waiting) as sent:
        if waiting.hear(sent) != 451:
            problems.append(f"a client that waited was told {sent.code}")
        code = stand.send()
        if code != 451:
            problems.append(f"new mail was told {code}")
    # It is over as soon as the disk answers, with nobody's help.
    if not until(lambda: stand.send() == 250):
        problems.append("after the delay no mail was taken")
    return problems + stand.problems(may_refused_stay=True)


def client_gone(stand: Stand) -> list[str]:
    """F12: reset the connection while its message is committed: none or one, and no remains."""
    server = stand.start()
    stand.send()
    before = server.descriptors()
    problems = []
    with stand.client() as waiting, stand.client() as witness:
        with held_commit(stand, waiting):
            witness.noop()
            waiting.wire.reset()
            witness.noop()
        if witness.send() != 250:
            problems.append("the next message was not taken")
        problems += stand.problems()
    if not until(lambda: server.descriptors() <= before):
        problems.append(f"{before} files open before, {server.descriptors()} after")
    return problems + stand.recovered()


# --- F15


def _at_ehlo(stand: Stand, server: Running) -> list[str]:
    with stand.client() as client:
        server.signal(signal.SIGTERM)
        return _is_told(client)


def _in_data(stand: Stand, server: Running) -> list[str]:
    with stand.client() as client, stand.client() as idle:
        sent = client.open_data()
        assert sent is not None
        half = len(sent.body) // 2
        client.wire.send(sent.body[:half].replace(b"\r\n.", b"\r\n.."))
        idle.noop()
        server.signal(signal.SIGTERM)
        problems = _is_told(idle)  # by then the stop has begun
        client.wire.send(sent.body[half:].replace(b"\r\n.", b"\r\n..") + b".\r\n")
        code = client.hear(sent)
        problems += [] if code == 250 else [f"mail under way was answered {code}"]
        return problems + _is_told(client)


def _in_commit(stand: Stand, server: Running) -> list[str]:
    with stand.client() as client, stand.client() as idle:
        with held_commit(stand, client) as sent:
            idle.noop()
            server.signal(signal.SIGTERM)
            problems = _is_told(idle)
            if client.wire.has_more(0):
                problems.append("the commit was not held")
        code = client.hear(sent)
        problems += [] if code == 250 else [f"the commit under way was answered {code}"]
        return problems + _is_told(client)


def _in_hang(stand: Stand, server: Running) -> list[str]:
    """A disk that does not answer must not keep the process, nor get anybody a 250."""
    with stand.client() as client, stand.client() as idle, held_commit(stand, client, 600) as sent:
        idle.noop()
        server.signal(signal.SIGTERM)
        problems = _is_told(idle)
        try:
            problems.append(f"a hanging commit was answered {client.hear(sent)}")
        except ClosedError:
            pass
        # The thread that hangs belongs to strace until that lets go, and keeps a shell of a process.
        if not until(server.has_ended):
            problems.append("the process does not end")
    return problems


STOPS = {"EHLO": _at_ehlo, "DATA": _in_data, "commit": _in_commit, "hang": _in_hang}


def _is_told(client: Client) -> list[str]:
    """Read a 421 and the end of the connection."""
    try:
        reply = client.wire.reply()
        client.wire.end()
    except ClosedError as closed:
        return [] if closed.is_clean else ["a session was cut off without a word"]
    return [] if reply.startswith(b"421") else [f"told {reply!r} instead of 421"]


def stop_at(stand: Stand, stage: str) -> list[str]:
    """Send SIGTERM at a stage; the exit code is 0 in the grace period, and nothing is lost."""
    server = stand.start(SMTP_SHUTDOWN_TIMEOUT="2" if stage == "hang" else "60")
    stand.send()
    try:
        problems = STOPS[stage](stand, server)
    except ClosedError:
        problems = ["a session was cut off without a word"]
    code = server.wait()
    if code != 0:
        problems.append(f"exit code {code}")
    return [f"stopped at {stage}: {each}" for each in problems + stand.recovered()]
