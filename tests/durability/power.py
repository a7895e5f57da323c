"""F05: the power of a disk is cut while mail comes in; F08: the server is killed under load.

Every message acknowledged before or after the cut must be in the store. The cut falls between two
system calls, because the ioctl lets a sync under way report success for data that it loses (seen
with a bare pwrite and fdatasync, 3 times in 60), which no drive does; F06 covers a cut within a
call. The cache of the drive is not tested, because the image lies on a disk that keeps its power.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.durability.disks import LoopDisk
    from tests.durability.rig import Stand

__all__ = ["CROWD", "cut_power", "kill_under_load"]

CROWD = 32
_SIZES = (300, 2000, 2000, 9000, 70_000)


def cut_power(stand: Stand, disk: LoopDisk, seed: int) -> list[str]:
    """Cut when the k-th 250 arrives, replay the journal, start again, compare."""
    source = random.Random(seed)
    server = stand.server or stand.start()

    def cut() -> None:
        server.stop_between_calls()
        disk.cut_power()
        server.resume()
        cuts.append(seed)

    cuts: list[int] = []
    stand.ledger.at(source.choice((1, 1, 2, 3, 5, 8, 13, 21)), cut)
    clients = source.choice((1, 4, 8))
    stand.crowd(clients, _plans(source, clients, 12 + 24 // clients))
    assert cuts, f"cut {seed}: nothing was cut"
    server.kill()
    disk.unmount()
    disk.mount()
    stand.start()
    return [f"cut {seed}: {each}" for each in stand.problems(may_refused_stay=True)]


def kill_under_load(stand: Stand, seed: int) -> list[str]:
    """Kill on acknowledgement k of a crowd, start again, compare."""
    source = random.Random(seed)
    server = stand.start()
    stand.ledger.at(source.randint(1, 300), server.kill)
    stand.crowd(CROWD, _plans(source, CROWD, 200))
    assert server.has_ended(), f"seed {seed}: nothing was killed"
    return [f"seed {seed}: {each}" for each in stand.recovered()]


def _plans(source: random.Random, clients: int, each: int) -> list[list[int]]:
    """Return for each client the sizes of the messages it will send if it can."""
    return [[source.choice(_SIZES) for _ in range(each)] for _ in range(clients)]
