"""The contract of every store, and the records it uses.

Held by `tests/unit/test_store_contract.py` over every store:
- the future of `put` resolves only when message and envelope survive SIGKILL and power loss
  (durable stores) and every reader sees the message;
- a failed `put` leaves nothing visible, and the next one is tried afresh;
- `put` never blocks the event loop, and a caller that goes away does not stop a commit.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from prixfixe.mail.message import Message

__all__ = [
    "NOWHERE",
    "Arrival",
    "Changes",
    "DamagedError",
    "DiskOptions",
    "Followed",
    "Place",
    "Probe",
    "Reader",
    "Recovery",
    "Said",
    "Shared",
    "State",
    "Store",
    "StoreError",
    "StoreOpenError",
    "StoreOptions",
    "Totals",
]


class StoreError(Exception):
    """A message could not be kept. Always temporary: the client is told 4xx and may retry.

    `is_full` distinguishes no room (452 4.3.1) from any other failure (451 4.3.0). `kind` is a
    word of a closed list, fit for a metric label: full, io, closed, conflict, internal, timeout,
    displaced (a file of the store was removed, moved, cut or replaced under it), quorum (too few
    replicas would have the message).
    """

    def __init__(self, text: str, *, kind: str = "io") -> None:
        super().__init__(text)
        self.kind = kind

    @property
    def is_full(self) -> bool:
        """Whether the store had no room."""
        return self.kind == "full"


class StoreOpenError(Exception):
    """The store cannot be opened; the text names the path, the user id and the remedy (exit 3)."""


class DamagedError(Exception):
    """A kept message fails its checksum. The text names it; every other message stays readable."""


def _ignore_operation(op: str, seconds: float, result: str) -> None:
    """Take the place of a metric nobody asked for."""


def _ignore_retry(kind: str) -> None:
    """Take the place of a metric nobody asked for."""


def _ignore_pruned(count: int) -> None:
    """Take the place of a metric nobody asked for."""


def _ignore_space(space: Probe) -> None:
    """Take the place of a metric nobody asked for."""


def _ignore_elsewhere(ids: Sequence[str]) -> None:
    """Take the place of a listener nobody asked for."""


def _ignore_lost(count: int) -> None:
    """Take the place of a listener nobody asked for."""


def _ignore_replicas(count: int, lag: int) -> None:
    """Take the place of a metric nobody asked for."""


@dataclass(frozen=True, slots=True)
class DiskOptions:
    """What only a store on a file system reads.

    `min_free` is in bytes, and 0 means no limit. `on_space(space)` is called in the writer thread
    whenever the file system was asked, also when there is too little for the probe to succeed.
    """

    min_free: int = 0
    on_space: Callable[[Probe], None] = _ignore_space


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """What every technology is told: retention, hooks for metrics, the clock, and of the disk.

    0 means no limit. `max_age` is in seconds. The hooks run in the writer
    thread, so they must be quick and safe there: `on_operation(op, seconds, result)` with op
    commit, delete, probe, open, settle, undo or close, and result ok or the kind of the
    `StoreError`; `on_retry(kind)` when a group failed by that and is tried message by message;
    `on_pruned(count)` whenever retention took messages away.

    What only a store of several servers reads: `quorum` is on how many replicas a message has to
    be before it is acknowledged, and 0 is none; `on_elsewhere(ids)` is called, in any thread, with
    what other servers stored, and with nothing when they deleted or marked something;
    `on_replicas(count, lag)` with the replicas there are, and how many bytes the last is behind;
    `on_lost(count)` with how many acknowledged messages a new primary lacks.
    """

    max_messages: int = 0
    max_age: float = 0
    disk: DiskOptions = DiskOptions()
    on_operation: Callable[[str, float, str], None] = _ignore_operation
    on_retry: Callable[[str], None] = _ignore_retry
    on_pruned: Callable[[int], None] = _ignore_pruned
    quorum: int = 1
    on_elsewhere: Callable[[Sequence[str]], None] = _ignore_elsewhere
    on_replicas: Callable[[int, int], None] = _ignore_replicas
    on_lost: Callable[[int], None] = _ignore_lost
    clock: Callable[[], float] = time.time


class Recovery(NamedTuple):
    """What a crash left behind and what opening did with it, in counts of messages or files.

    SQLite counts the commits it discards or quarantines: up to 500 messages each. `saved` is the
    path of a copy of what it would not take, where that may hold acknowledged mail.
    """

    complete: int = 0
    discarded_partial: int = 0
    quarantined: int = 0
    saved: str | None = None


class Probe(NamedTuple):
    """The answer of a readiness probe; None where there is no file system to ask."""

    free_bytes: int | None = None
    free_inodes: int | None = None
    size_bytes: int | None = None


class Totals(NamedTuple):
    """How many messages are kept and the sum of their body bytes."""

    messages: int
    bytes: int


class Reader(Protocol):
    """The read side: blocking, safe in another thread or another process than the store."""

    def ids(self, start: int = 0, limit: int | None = None) -> Sequence[str]:
        """Return ids, newest first, skipping `start`, at most `limit`."""
        ...

    def get(self, message_id: str) -> Message | None:
        """Return the message, or None when there is none of that id.

        Raises:
            DamagedError: the message is there, but not as it was written.

        """
        ...

    def totals(self) -> Totals:
        """Return the counts of what is kept now."""
        ...

    def close(self) -> None:
        """Release files."""
        ...


class Place(NamedTuple):
    """Where a message stands in the order of listing: a higher `key` is newer."""

    key: int
    id: str


NOWHERE = Place(-1, "")  # before the first message


class State(NamedTuple):
    """What a store holds, told apart from any other: equal states hold the same messages.

    `last` is the newest place; `mark` is whatever a technology needs besides.
    """

    messages: int
    last: Place
    mark: object = None


class Arrival(NamedTuple):
    """What a kept message is found by: its id, its time in seconds, its bytes."""

    id: str
    received_at: float
    size: int


class Said(NamedTuple):
    """What people say of a message: None is nothing yet."""

    id: str
    is_read: bool | None = None
    tags: tuple[str, ...] | None = None


class Changes(NamedTuple):
    """What changed in a store of several servers, at least.

    `since` is what to ask with next. `added` is None when nothing is known of before: all places
    have to be compared. A change may be told more than once.
    """

    since: object
    added: Sequence[Place] | None
    gone: Sequence[str]
    said: Sequence[Said]


class Followed(Reader, Protocol):
    """A reader that an index can follow.

    Where `is_in_order_of_arrival`, a new message has a higher key than every other there is, and
    a key is used again only when its message and all above it are gone. A store that several
    servers write has the methods of `Shared` too.
    """

    is_in_order_of_arrival: bool

    def state(self) -> State:
        """Return what is there now; cheap."""
        ...

    def places(self, after: int, limit: int) -> Sequence[Place]:
        """Return the places above a key, lowest first, at most so many (and all of one key)."""
        ...

    def expect(self, arrival: Arrival) -> Place:
        """Return the place of a message that was just kept, and know where to find it."""
        ...


@runtime_checkable
class Shared(Protocol):
    """What the reader of a store has that several servers write: what the others did."""

    def changes(self, since: object) -> Changes:
        """Return what changed since an earlier answer's `since`; None is the first question."""
        ...

    def say(self, said: Sequence[Said]) -> None:
        """Note what people say of messages, for all servers."""
        ...


class Store(Protocol):
    """The write side, used from the event loop only, but for `open_reader`."""

    async def open(self) -> Recovery:
        """Open, lock and recover. Raises `StoreOpenError`."""
        ...

    def put(self, message: Message) -> asyncio.Future[None]:
        """Keep one message; the future resolves after the commit or raises `StoreError`."""
        ...

    async def delete(self, ids: Sequence[str] | None) -> int:
        """Delete these messages, or all of them for None; return how many were there."""
        ...

    async def probe(self) -> Probe:
        """Prove that a write would work now. Raises `StoreError`."""
        ...

    async def close(self) -> None:
        """Finish what was put, then release files and lock."""
        ...

    def open_reader(self) -> Reader:
        """Open a reader of this store, which is open; blocking, in the thread that reads.

        Raises:
            StoreOpenError: it is not readable.

        """
        ...
