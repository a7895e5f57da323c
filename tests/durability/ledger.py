"""The client's ledger of messages sent and replies received, and its comparison with a store.

`compare` reports each acknowledged message that is missing, changed or stored twice, each message
that is damaged or that nobody sent, and each file left behind. The ledger is in the test's process,
so a crash of the server does not change it.
"""

from __future__ import annotations

import hashlib
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

__all__ = ["Evidence", "Found", "Ledger", "Sent", "compare"]

LINE_OCTETS = 76


@dataclass
class Sent:
    """One message offered to a server once. `code` is 0 while nobody knows."""

    number: int
    sender: str
    recipients: tuple[str, ...]
    body: bytes
    digest: str
    code: int = 0
    id: str = ""

    @property
    def is_kept(self) -> bool:
        """Whether the server took responsibility."""
        return self.code == 250


@dataclass(frozen=True)
class Found:
    """One message as a reader gives it."""

    id: str
    sender: str
    recipients: tuple[str, ...]
    digest: str


@dataclass
class Evidence:
    """What a store shows: whole messages, damaged ones, and files that are neither."""

    found: list[Found] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    residue: list[str] = field(default_factory=list)


class Ledger:
    """Filled by clients in any thread."""

    def __init__(self, seed: int = 0) -> None:
        self.sent: list[Sent] = []
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._acknowledged = 0
        self._at: dict[int, Callable[[], None]] = {}

    def compose(self, octets: int = 2000, recipients: int = 1) -> Sent:
        """Return a new message: unique, 8-bit, with lines that begin with dots."""
        with self._lock:
            number = len(self.sent)
            body = _body(self._random, number, octets)
            names = tuple(f"r{number}.{each}@example.net" for each in range(recipients))
            made = Sent(number, f"s{number}@example.org", names, body, digest(body))
            self.sent.append(made)
        return made

    def answered(self, sent: Sent, reply: bytes) -> None:
        """Note the reply to the end of the data; the k-th 250 may set something off."""
        with self._lock:
            sent.code = int(reply[:3])
            if not sent.is_kept:
                return
            sent.id = reply.split()[-1].decode()
            self._acknowledged += 1
            action = self._at.pop(self._acknowledged, None)
        if action is not None:
            action()

    def at(self, count: int, action: Callable[[], None]) -> None:
        """Do this when so many more messages were acknowledged, in the thread that reads the 250."""
        with self._lock:
            self._at[self._acknowledged + count] = action

    @property
    def kept(self) -> list[Sent]:
        """Return what was acknowledged."""
        return [each for each in self.sent if each.is_kept]

    def as_of(self, ids: Iterable[str]) -> Ledger:
        """Return the ledger as it was when only these had been acknowledged."""
        early, known = Ledger(), set(ids)
        for each in self.sent:
            code = each.code if each.id in known else 0
            early.sent.append(
                Sent(
                    each.number,
                    each.sender,
                    each.recipients,
                    each.body,
                    each.digest,
                    code,
                    each.id if code else "",
                )
            )
        return early


def digest(body: bytes) -> str:
    """Return what stands for a body."""
    return hashlib.sha256(body).hexdigest()


def _body(source: random.Random, number: int, octets: int) -> bytes:
    head = b"Subject: message %d %016x\r\n\r\n..dots\r\n.\xc3\xa9\r\n" % (
        number,
        source.getrandbits(64),
    )
    noise = source.randbytes(max(octets - len(head), 0)).translate(_TEXT)
    lines = (noise[at : at + LINE_OCTETS] for at in range(0, len(noise), LINE_OCTETS))
    return head + b"".join(line + b"\r\n" for line in lines)


# Every octet but NUL, CR and LF.
_TEXT = bytes(each if each not in b"\0\r\n" else 0x2E for each in range(256))


def compare(ledger: Ledger, evidence: Evidence, *, may_refused_stay: bool = False) -> list[str]:
    """Return every breach of the promise, in words; nothing when it was kept.

    A message refused because the disk just died may be on it all the same: whole, or not at all.
    """
    by_digest = {each.digest: each for each in ledger.sent}
    problems = [f"damaged and visible: {each}" for each in evidence.damaged]
    problems += [f"left behind: {each}" for each in evidence.residue]
    times = Counter(each.digest for each in evidence.found)
    for each in ledger.kept:
        if not times[each.digest]:
            problems.append(f"lost: message {each.number}, acknowledged as {each.id}")
    for each in evidence.found:
        sent = by_digest.get(each.digest)
        if sent is None:
            problems.append(f"not as anybody sent it: {each.id}")
            continue
        problems += _differences(sent, each)
        if sent.code >= 400 and not may_refused_stay:
            problems.append(
                f"refused with {sent.code} and stored: message {sent.number}, {each.id}"
            )
    problems += [
        f"stored {count} times: message {by_digest[each].number}"
        for each, count in times.items()
        if count > 1 and each in by_digest
    ]
    return problems


def _differences(sent: Sent, found: Found) -> list[str]:
    problems = []
    if sent.is_kept and sent.id and sent.id != found.id:
        problems.append(f"acknowledged as {sent.id}, stored as {found.id}")
    if (sent.sender, sent.recipients) != (found.sender, found.recipients):
        problems.append(f"another envelope: {found.id}")
    return problems
