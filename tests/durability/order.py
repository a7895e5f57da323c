"""F01 and F06: the order of system calls, and the disks that a power cut could leave of it.

F01 asks the disk model at each 250 whether any data of the store is uncertain. F06 builds the disks
that could be left after each call that changed the store, and a store must recover from each
without losing a message acknowledged by then.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from prixfixe.stores.base import StoreOpenError
from tests.durability import strace
from tests.durability.calls import Call, parse
from tests.durability.evidence import from_store, recover
from tests.durability.ledger import compare
from tests.durability.model import Disk, Image
from tests.durability.rig import Stand

__all__ = ["forget", "promised_order", "record", "unsynced"]

# Five in groups and one by one, one above SQLite's piecewise limit.
SIZES = (1000, 40_000, 300, 1_200_000, 2000)


def record(stand: Stand, folder: Path, together: int = 0) -> list[Call]:
    """Serve some mail under strace, from an empty folder to a clean stop; return every call."""
    trace = folder / "trace"
    server = stand.start(*strace.watching(trace))
    for octets in SIZES:
        stand.send(octets)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(stand.client()) for _ in range(together)]
        for client, sent in [(each, each.offer()) for each in clients]:
            client.hear(sent)
    server.terminate()
    return list(parse(trace.read_text(encoding="utf-8")))


def unsynced(stand: Stand, calls: list[Call]) -> list[str]:
    """F01: name what was uncertain when a 250 was sent (mail is sent one by one for this)."""
    disk, problems = Disk(str(stand.root)), []
    sent = {each.id: each for each in stand.ledger.kept}
    for call in calls:
        for name in disk.apply(call):
            problems += [
                f"{each} is uncertain at the 250 for {name}"
                for each in disk.uncertain()
                if not is_beside_the_mail(each)
            ]
            if not _holds(disk.image(), sent[name].body):
                problems.append(f"nothing of {name} is on disk at its 250")
    return problems


def is_beside_the_mail(name: str) -> bool:
    """Whether a file holds no mail: the lock, the reserve, or the index, made again from the mail."""
    return any(each in name for each in (".lock", ".reserve", ".index"))


def _holds(image: Image, body: bytes) -> bool:
    """Whether an end of the body is in some file; SQLite may part it between pages anywhere."""
    ends = (body[:40], body[-40:])
    return any(end in content for content in image.values() if content for end in ends)


def promised_order(stand: Stand, calls: list[Call]) -> list[str]:
    """Return what was done to the mail between the last two 250s, in words, repeats joined."""
    disk = Disk(str(stand.root))
    for call in calls:
        disk.apply(call)
        if len(disk.events) > 1 and disk.events.count("250") == len(stand.ledger.kept):
            break
    events = disk.events[:-1]
    events = events[len(events) - events[::-1].index("250") :]
    events = [each for each in events if not is_beside_the_mail(each)]
    words = [re.sub(r"[^/ ]+,B=\d+", "FILE", each) for each in events]
    return [each for at, each in enumerate(words) if at == 0 or each != words[at - 1]]


def forget(
    stand: Stand, calls: list[Call], folder: Path, draws: int, servers: int
) -> tuple[list[str], int]:
    """F06: cut the power after each call; return what was wrong and how many disks were tried.

    Every certain disk is tried, the last `servers` of them by a server, and of the uncertain ones
    about so many draws.
    """
    problems, count = [], 0
    images = list(_images(stand, calls, draws / _changes(stand, calls)))
    served = [id(image) for _, image, is_certain in images if is_certain]
    served = served[max(0, len(served) - servers) :]
    for acknowledged, image, is_certain in images:
        count += 1
        serve = id(image) in served
        found = _try(stand, image, folder / "cut", acknowledged, serve=serve)
        if found:
            what = "certain" if is_certain else "drawn"
            problems.append(f"{what} disk {count}, {len(acknowledged)} acknowledged: {found}")
    return problems, count


def _changes(stand: Stand, calls: list[Call]) -> int:
    disk = Disk(str(stand.root))
    for call in calls:
        disk.apply(call)
    return len(disk.events)


def _images(
    stand: Stand, calls: list[Call], chance: float
) -> Iterator[tuple[tuple[str, ...], Image, bool]]:
    """Yield every different disk with what had been acknowledged by then."""
    disk, acknowledged, seen = Disk(str(stand.root)), (), set()
    source, done = random.Random(len(calls)), 0
    for call in calls:
        acknowledged += tuple(disk.apply(call))
        if len(disk.events) == done:
            continue
        done = len(disk.events)
        draws = int(chance) + (source.random() < chance % 1)
        for draw in range(draws + 1):
            share = source.choice((0.2, 0.5, 0.8, 1.0)) if draw else 0.0
            image = disk.image(lambda share=share: source.random() < share)
            key = hash_of(image, acknowledged)
            if key not in seen:
                seen.add(key)
                yield acknowledged, image, not draw


def hash_of(image: Image, acknowledged: tuple[str, ...]) -> bytes:
    """Return what tells two disks, or two moments, apart."""
    made = hashlib.sha256(repr(acknowledged).encode())
    for name, content in sorted(image.items()):
        made.update(repr((name, content is None, len(content or b""))).encode())
        made.update(content or b"")
    return made.digest()


def _try(
    stand: Stand, image: Image, folder: Path, acknowledged: tuple[str, ...], *, serve: bool
) -> list[str]:
    """Recover from a disk and compare; with `serve`, by a real server."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, content in image.items():
        path = folder / name
        if content is None:
            path.mkdir(mode=0o700)
        else:
            path.write_bytes(content)
    trial = Stand(folder, stand.technology)
    trial.place(folder)
    trial.ledger = stand.ledger.as_of(acknowledged)
    try:
        if serve:
            trial.start()
            return trial.problems(by_api=True)
        recover(trial.url)
        return compare(trial.ledger, from_store(trial.url))
    except (StoreOpenError, RuntimeError) as error:
        return [f"no start: {error}"]
    finally:
        trial.close()
