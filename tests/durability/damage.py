"""F07: cut off or flip bits in copies of the files of a server that was killed or stopped.

A torn tail may cost only the message that was torn. A flipped bit may cost messages, but no message
is shown changed, and every error is a named store error.
"""

from __future__ import annotations

import random
import re
import shutil
import struct
from collections.abc import Iterable
from pathlib import Path

from prixfixe.stores.base import StoreError, StoreOpenError
from prixfixe.stores.sqlite.file import log_path
from tests.durability.evidence import from_store, path_of, recover
from tests.durability.ledger import compare
from tests.durability.rig import Stand

__all__ = ["flip", "flip_cold", "prepare", "tear"]

MESSAGES = 5


def prepare(stand: Stand) -> None:
    """Keep some mail and crash."""
    server = stand.start()
    for octets in (300, 9000, 300, 40_000, 200):
        assert stand.send(octets) == 250
    server.kill()


def _newest(url: str) -> tuple[Path, int]:
    """Return the file that ends with the last message, and where that message begins."""
    path = path_of(url)
    if url.startswith("maildir:"):
        return max((path / "new").iterdir(), key=lambda each: each.name), 0
    log = log_path(path)
    content = log.read_bytes()
    frame = 24 + struct.unpack(">I", content[8:12])[0]
    commits = [at for at in range(32, len(content), frame) if any(content[at + 4 : at + 8])]
    return log, commits[-2] + frame


def _copy(stand: Stand, folder: Path) -> Stand:
    shutil.rmtree(folder, ignore_errors=True)
    trial = Stand.__new__(Stand)
    trial.technology, trial.ledger = stand.technology, stand.ledger
    shutil.copytree(stand.root, folder)
    trial.place(folder)
    return trial


def tear(stand: Stand, folder: Path, stride: int) -> tuple[list[str], int]:
    """Cut the newest file at octets of its last record; near the edges of a page, at every one."""
    problems, count = [], 0
    file, start = _newest(stand.url)
    size, last = file.stat().st_size, stand.ledger.sent[-1]
    for at in range(start, size):
        is_near_edge = (at - start) % (24 + 8192) < 30 or size - at < 30
        if at % stride and not is_near_edge:
            continue
        count += 1
        trial = _copy(stand, folder)
        torn = folder / file.relative_to(stand.root)
        with torn.open("r+b") as opened:
            opened.truncate(at)
        recovery = recover(trial.url)
        evidence = from_store(trial.url)
        problems += _only_one_lost(trial, evidence, last.digest, f"torn at {at}: ")
        if stand.technology == "sqlite" and recovery.discarded_partial > 1:
            problems.append(f"torn at {at}: {recovery}")
    return problems, count


def _only_one_lost(trial: Stand, evidence, digest: str, where: str) -> list[str]:
    """Take out what may be wrong about the message that was torn, and return the rest."""
    if any(each.digest == digest for each in evidence.found):
        return [where + "the torn message is shown whole"]
    allowed = 1 if trial.technology == "maildir" else 0  # a file is listed, and is an error to read
    problems = [each for each in compare(trial.ledger, evidence) if not each.startswith("damaged")]
    if len(evidence.damaged) != allowed:
        problems.append(f"{len(evidence.damaged)} damaged")
    return [where + each for each in problems if "lost: message 4," not in each]


def flip(stand: Stand, folder: Path, flips: Iterable[int]) -> tuple[list[str], int]:
    """Flip one bit of the last record, once for each seed: all that came earlier is whole."""
    problems, count = [], 0
    file, start = _newest(stand.url)
    for seed in flips:
        at = random.Random(seed).randrange(start * 8, file.stat().st_size * 8)
        count += 1
        trial = _copy(stand, folder)
        _flip(folder / file.relative_to(stand.root), at)
        recover(trial.url)
        evidence = from_store(trial.url)
        found = [each for each in compare(trial.ledger, evidence) if "lost: message 4," not in each]
        problems += [f"bit {at}: {each}" for each in found if not each.startswith("damaged")]
    return problems, count


def flip_cold(stand: Stand, folder: Path, flips: Iterable[int]) -> tuple[list[str], int]:
    """Flip one bit anywhere in the files of a stopped server: nothing altered is ever shown."""
    problems, count = [], 0
    files = sorted(each for each in stand.root.rglob("*") if _holds_mail(each))
    for seed in flips:
        source = random.Random(seed)
        file = source.choice(files)
        at = _bit(file.read_bytes(), stand, source)
        count += 1
        trial = _copy(stand, folder)
        _flip(folder / file.relative_to(stand.root), at)
        problems += [f"bit {at} of {file.name}: {each}" for each in _look(trial)]
    return problems, count


def _bit(content: bytes, stand: Stand, source: random.Random) -> int:
    """Return a place anywhere, or in every other draw one in or near an id."""
    name = source.choice(stand.ledger.sent).id.encode()
    places = [found.start() for found in re.finditer(re.escape(name), content)]
    if places and source.random() < 0.5:
        near = source.choice(places) + source.randrange(-16, len(name) + 16)
        return max(near, 0) * 8 + source.randrange(8)
    return source.randrange(len(content) * 8)


def _holds_mail(path: Path) -> bool:
    return path.is_file() and path.suffix != ".lock" and path.stat().st_size > 0


def _look(trial: Stand) -> list[str]:
    try:
        recover(trial.url)
        evidence = from_store(trial.url)
    except (StoreOpenError, StoreError):  # said by name, which is what is asked
        return []
    wrong = ("not as anybody", "another envelope", "acknowledged as", "stored")
    return [each for each in compare(trial.ledger, evidence) if each.startswith(wrong)]


def _flip(path: Path, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)
