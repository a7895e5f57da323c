"""F09 and F10: a disk without free space or inodes, and one that cannot be written.

The server answers 452 on a full disk and 451 on a read-only one, loses no stored message, and takes
mail again once the disk can be written. Only a file system that failed and was mounted again needs
a restart.
"""

from __future__ import annotations

import http.client
import json
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.durability import strace
from tests.durability.disks import filled
from tests.durability.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.durability.client import Client
    from tests.durability.disks import LoopDisk
    from tests.durability.rig import Running, Stand

__all__ = [
    "delete_on_full_disk",
    "delete_one_by_one",
    "fail_disk",
    "free_by_deleting",
    "out_of_blocks",
    "out_of_inodes",
    "refuse_writes",
]

_MOST = 20_000


def out_of_blocks(stand: Stand, disk: Path, blocks: int) -> list[str]:
    """Leave so many blocks, send until refused, make room again."""
    return _fill_up(stand, filled(disk, blocks))


def out_of_inodes(stand: Stand, disk: Path) -> list[str]:
    """Use up the files a file system can hold, send until refused, remove them again."""
    return _fill_up(stand, _crowded(disk))


def _fill_up(stand: Stand, shortage) -> list[str]:
    if stand.server is None:
        stand.start()
    if stand.send() != 250:
        return ["no mail was taken before"]
    with stand.client() as client:
        with shortage:
            problems = _send_until_refused(client)
            problems += stand.problems()
        code = client.send()
        if code != 250:
            problems.append(f"with room again the next message was answered {code}")
    return problems + stand.problems()


def _send_until_refused(client: Client, octets: int = 3000) -> list[str]:
    """Send until two messages in a row are refused, each with 452.

    One refusal is not the end: the second is made of another state than the first, and the server
    may have found room in between (a log folded, an index given up).
    """
    previous = 250
    for _ in range(_MOST):
        code = client.send(octets)
        if code not in {250, 452}:
            return [f"a full disk was answered {code}"]
        if code == previous == 452:
            return []
        previous = code
    return ["a full disk never refused two messages in a row"]


@contextmanager
def _crowded(disk: Path) -> Iterator[None]:
    folder = disk / "crowd"
    folder.mkdir()
    made = []
    try:
        while True:
            made.append(folder / str(len(made)))
            os.close(os.open(made[-1], os.O_CREAT | os.O_WRONLY))
    except OSError:
        made.pop()
    try:
        yield
    finally:
        for each in made:
            each.unlink()
        folder.rmdir()


def free_by_deleting(stand: Stand) -> list[str]:
    """Send until the reserve is reached; deleting through the API makes room."""
    server = stand.start()
    with stand.client() as client:
        problems = _send_until_refused(client, 30_000)
        problems += stand.problems()
        server.clear()
        stand.ledger.sent.clear()
        # Room is given back after the answer, in steps.
        if not until(lambda: client.send() == 250):
            problems.append("after deleting no mail was taken")
    return problems + stand.problems()


def delete_on_full_disk(stand: Stand, disk: Path, *, is_part: bool) -> list[str]:
    """Fill the disk to its last block from outside; deleting through the API makes room."""
    server = stand.start()
    with stand.client() as client:
        for _ in range(20):  # a log that the room set aside is enough to fold
            client.send(20_000)
        with filled(disk, 0):
            for _ in range(_MOST):  # what the log has room for
                if client.send(20_000) != 250:
                    break
            doomed = [each for each in stand.ledger.sent if each.is_kept]
            doomed = doomed[: len(doomed) * 3 // 4] if is_part else doomed
            status = _delete(server, [each.id for each in doomed] if is_part else [])
            problems = [] if status == 200 else [f"deleting was answered {status}"]
            for each in doomed:
                stand.ledger.sent.remove(each)
            if not until(lambda: client.send(20_000) == 250):
                problems.append("after deleting no mail was taken")
    return problems + stand.problems()


def delete_one_by_one(stand: Stand, disk: Path) -> list[str]:
    """Delete single messages on a full disk until that is refused; deleting all still is not."""
    server = stand.start()
    with stand.client() as client:
        for _ in range(100):  # a log that takes more room to fold than is set aside
            client.send(50_000)
        with filled(disk, 0):
            for each in list(stand.ledger.sent)[:60]:
                if _delete(server, [each.id]) != 200:
                    break
                stand.ledger.sent.remove(each)
            problems = stand.problems()
            status = _delete(server, [])
            problems += [] if status == 200 else [f"deleting all was answered {status}"]
            stand.ledger.sent.clear()
            if not until(lambda: client.send(20_000) == 250):
                problems.append("after deleting no mail was taken")
    return problems + stand.problems()


def _delete(server: Running, ids: list[str]) -> int:
    connection = http.client.HTTPConnection(server.http.host, server.http.port, timeout=60)
    try:
        body = json.dumps({"IDs": ids}) if ids else None
        connection.request("DELETE", "/api/v1/messages", body)
        return connection.getresponse().status
    finally:
        connection.close()


def readiness(server: Running) -> tuple[int, dict[str, object]]:
    """Ask whether the server is ready."""
    connection = http.client.HTTPConnection(server.http.host, server.http.port, timeout=30)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def refuse_writes(stand: Stand) -> list[str]:
    """Have every call that would change the disk fail as on a read-only one, then stop that."""
    server = stand.start()
    # Not `write`: with it the thread wakes the loop.
    calls = "openat,mkdir,rename,unlink,pwrite64,ftruncate,fsync,fdatasync"
    problems = []
    with stand.client() as client:
        client.send()
        with strace.attached(server.writer, *strace.inject(calls, "error=EROFS", "1+")):
            code = client.send()
            if code != 451:
                problems.append(f"read-only, and answered {code}")
            status, _ = readiness(server)
            if status != 503:
                problems.append("read-only, and ready")
            problems += stand.problems()
        code = client.send()
        if code != 250:
            problems.append(f"writable again, and answered {code}")
    return problems + stand.problems()


def fail_disk(stand: Stand, disk: LoopDisk) -> list[str]:
    """Have the file system go read-only under the server; mount it again and start again."""
    stand.start()
    problems = []
    with stand.client() as client:
        client.send()
        disk.fail()
        code = client.send()
        if code not in (451, 452):
            problems.append(f"the disk failed, and the answer was {code}")
        client.noop()
        assert stand.server is not None
        if readiness(stand.server)[0] != 503:
            problems.append("the disk failed, and ready")
    stand.server.kill()
    disk.unmount()
    disk.check()
    disk.mount()
    stand.start()
    return problems + stand.problems(by_api=True, may_refused_stay=True)
