"""F02, F03, F04 and F13: one system call of a message fails, or the server is killed in it.

These are the calls of the thread that writes the store and, for kills, of the event loop. Calls are
counted from the moment strace is attached.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from prixfixe.stores.base import StoreOpenError
from prixfixe.verify.dialogue.wire import ClosedError
from tests.durability import strace
from tests.durability.calls import parse
from tests.durability.client import Client
from tests.durability.evidence import from_store
from tests.durability.ledger import compare
from tests.durability.waiting import DEADLINE, until

if TYPE_CHECKING:
    from tests.durability.rig import Running, Stand

__all__ = ["ERRORS", "fail_each_call", "fail_group", "fail_sync_once", "kill_at_each_call"]

ERRORS = ("ENOSPC", "EDQUOT", "EIO", "EROFS", "EMFILE")
# Waiting, and counting time, do nothing to a file or a socket.
_IDLE = frozenset(["epoll_pwait", "epoll_wait", "epoll_ctl", "restart_syscall", "io_uring_enter"])
_MOST = 400  # calls of one name; more would be a loop that does not end


def calls_of(task: int, client: Client, folder: Path, octets: int) -> list[tuple[str, int, bool]]:
    """Return the calls one thread makes for one message, from the end of its data to its 250.

    Each with its count among those of its name, and whether it is about a file.
    """
    trace = folder / "calls"
    sent = client.open_data(octets)
    assert sent is not None
    with strace.attached(task, "-f", "-y", "-e", strace.WATCHED, trace=trace):
        client.end_data(sent)
        client.hear(sent)
        client.noop()
    counts: Counter[str] = Counter()
    points = []
    for call in parse(trace.read_text(encoding="utf-8")):
        if call.task == task and call.name not in _IDLE:
            counts[call.name] += 1
            # Letting a lock go cannot fail on a disk of this machine, and strace leaves it held.
            is_file = not re.match(r"\d+<(?:anon_inode|socket|pipe)|.*F_UNLCK", call.text)
            points.append((call.name, counts[call.name], is_file))
    return points


def kill_at_each_call(
    stand: Stand, folder: Path, octets: int = 2000, only: str = ""
) -> tuple[list[str], int]:
    """F02: for each thread, call (or only one) and count, kill there, start again, and compare."""
    problems, count = [], 0
    server = stand.start()
    roles = {}
    for role, task in (("writer", server.writer), ("loop", server.main)):
        with stand.client() as client:
            roles[role] = calls_of(task, client, folder, octets)
    for role, calls in roles.items():
        for call in dict.fromkeys(name for name, _, _ in calls):
            for when in range(1, _MOST if only in ("", call) else 1):
                if not _killed(stand, role, call, when, octets):
                    break
                count += 1
                stand.start()
                where = f"killed at {role} {call} {when}: "
                problems += [where + each for each in stand.problems()]
                if stand.send() != 250:
                    problems.append(where + "after it no mail was taken")
    return problems, count


def _killed(stand: Stand, role: str, call: str, when: int, octets: int) -> bool:
    """Send a message with this trap set; tell whether it caught."""
    server = stand.server
    assert server is not None
    task = server.writer if role == "writer" else server.main
    with stand.client() as client:
        sent = client.open_data(octets)
        assert sent is not None
        with strace.attached(task, *strace.inject(call, "signal=KILL", when)) as tracer:
            client.end_data(sent)
            try:
                client.hear(sent)
                client.noop()
                is_killed = False
            except (ClosedError, ConnectionError):
                is_killed = True
            if is_killed:
                tracer.wait(DEADLINE)
    if is_killed:
        server.wait()
    return is_killed


def fail_each_call(
    stand: Stand, folder: Path, octets: int = 2000, stride: int = 1
) -> tuple[list[str], int]:
    """F03: for each call of the writer, count and error: refused, invisible, and over after it."""
    problems, count, closes = [], 0, 0
    server = stand.start()
    with stand.client() as client:
        client.send(octets)
        points = calls_of(server.writer, client, folder, octets)
    # SQLite keeps one descriptor more after its first failure, for the locks of POSIX.
    problems += fail_sync_once(stand, folder, 1)[0]
    before = _settled_descriptors(server)
    for call, when in [(name, when) for name, when, is_file in points if is_file][::stride]:
        for error in ERRORS:
            trace = folder / "failed"
            found = _failed(stand, call, when, error, octets, trace)
            hit = re.search(r"(\w+)\((.*INJECTED.*)", trace.read_text(encoding="utf-8"))
            if hit and "F_UNLCK" in hit[2]:  # the sequence was not the one counted
                stand.restart()
                continue
            problems += [f"{error} at {call} {when}: {each}" for each in found]
            count += hit is not None
            closes += call == "close"  # strace leaves out the call, so the file stays open
    server = stand.server or server
    if not until(lambda: server.descriptors() <= before + closes, 15):
        problems.append(f"{before} files open before, {server.descriptors()} after")
    # A refused message must not come back, whatever the crash leaves.
    problems += stand.recovered()
    return problems, count


def _settled_descriptors(server: Running) -> int:
    counts = [0]
    until(lambda: counts.append(server.descriptors()) or counts[-1] == counts[-2], 5)
    return counts[-1]


def _failed(stand: Stand, call: str, when: int, error: str, octets: int, trace: Path) -> list[str]:
    server = stand.server
    assert server is not None
    with stand.client() as client:
        rule = (*strace.inject(call, f"error={error}", when), "-e", f"trace={call}")
        with strace.attached(server.writer, *rule, trace=trace):
            code = client.send(octets)
        problems = [] if code in (250, 451, 452) else [f"answered {code}"]
        try:
            problems += compare(stand.ledger, from_store(stand.url))
        except StoreOpenError as error:  # an unlock failed, if the sequence was another
            problems.append(str(error))
        code = client.send(octets)
        if code != 250:
            problems.append(f"the next message was answered {code}")
    return problems


def fail_sync_once(stand: Stand, folder: Path, which: int) -> tuple[list[str], bool]:
    """F04: fail the n-th sync of a message once; it must be refused, whatever later syncs say.

    Returns what was wrong and whether there was such a sync.
    """
    call = "fdatasync" if stand.technology == "sqlite" else "fsync"
    server = stand.server or stand.start()
    trace = folder / f"sync{which}"
    with stand.client() as client:
        rule = strace.inject(call, "error=EIO", which)
        with strace.attached(server.writer, "-e", strace.WATCHED, *rule, trace=trace):
            code = client.send()
        is_hit = "INJECTED" in trace.read_text(encoding="utf-8")
        problems = ["a failed sync was answered 250"] if is_hit and code == 250 else []
        if not is_hit and code != 250:
            problems.append(f"nothing failed and the answer was {code}")
        if client.send() != 250:
            problems.append("the next message was not taken")
    return problems + stand.problems(), is_hit


# --- F13

GROUP = 8
TRIES = 10


def fail_group(stand: Stand, when: int) -> tuple[list[str], int]:
    """Fail one sync under a group of eight; return what was wrong and how many were refused.

    A plug is held in its first write for seconds, so that the eight gather behind it. Clients that
    come when it is over, on a machine that stopped, make no group: then another is made.
    """
    for _ in range(TRIES):
        problems, codes = _fail_group(stand, when)
        if codes:
            return problems, sum(code != 250 for code in codes)
    return ["the plug did not hold"], 0


def _fail_group(stand: Stand, when: int) -> tuple[list[str], list[int]]:
    """Return what was wrong and the group's answers, none when it was no group."""
    sqlite = stand.technology == "sqlite"
    server = stand.server or stand.start()
    stand.send()  # SQLite syncs the log's header with the first
    plug_call, sync = ("pwrite64", "fdatasync") if sqlite else ("openat", "fsync")
    rules = (
        *strace.inject(plug_call, "delay_enter=3000000"),
        *strace.inject(sync, "error=EIO", when),
    )
    clients = [Client(server.port, stand.ledger) for _ in range(GROUP + 2)]
    plug_client, witness, *members = clients
    try:
        with strace.attached(server.writer, *rules):
            plug = plug_client.offer()
            until(lambda: strace.is_in(server.writer, plug_call) or plug_client.wire.has_more(0))
            group = [(each, each.offer()) for each in members]
            for _ in range(2):  # the loop has read all of it by then
                witness.noop()
            is_group = not plug_client.wire.has_more(0)
            plug_client.hear(plug)
            codes = [each.hear(sent) for each, sent in group]
        if not is_group:
            return [], []
        problems = _group_problems(codes) + stand.problems()
        if members[0].send() != 250:
            problems.append("the next message was not taken")
    finally:
        for each in clients:
            each.close()
    return problems, codes


def _group_problems(codes: list[int]) -> list[str]:
    if set(codes) in ({250}, {451}, {452}):
        return []
    return [f"one group, answered {codes}"]
