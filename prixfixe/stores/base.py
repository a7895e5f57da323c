"""The store's promise: what every technology must do before a 250 may be sent.

Owns: the `Store` and `Reader` protocols, `StoreError`, and the small records they exchange.
Promises, held by `tests/unit/test_store_contract.py` over every store:
- the future of `put` resolves only when message and envelope would survive SIGKILL and power loss
  (durable stores) and every reader already sees the message;
- a failed `put` leaves nothing visible, and the next one is tried afresh: stores recover alone;
- `put` never blocks the event loop, and a caller that goes away does not stop a commit.
Refuses: SMTP. Stores know nothing of replies; `session` maps a `StoreError` to a 4xx.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from prixfixe.mail.message import Message

__all__ = [
    "DamagedError",
    "Probe",
    "Reader",
    "Recovery",
    "Store",
    "StoreError",
    "StoreOpenError",
    "Totals",
]


class StoreError(Exception):
    """A message could not be kept. Always temporary: the client is told 4xx and may retry.

    `is_full` distinguishes no room (452 4.3.1) from any other failure (451 4.3.0). `kind` is a
    word of a closed list, fit for a metric label: full, io, closed, conflict, internal, timeout,
    displaced (a file of the store was removed, moved, cut or replaced under it).
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


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """What every technology is told: retention, free space, hooks for metrics, and the clock.

    0 means no limit. `max_age` is in seconds, `min_free` in bytes. The hooks run in the writer
    thread, so they must be quick and safe there: `on_operation(op, seconds, result)` with op
    commit, delete, probe, open, settle, undo or close, and result ok or the kind of the
    `StoreError`; `on_retry(kind)` when a group failed by that and is tried message by message;
    `on_pruned(count)` whenever retention took messages away; `on_space(space)` whenever the file
    system was asked, also when there is too little for the probe to succeed.
    """

    max_messages: int = 0
    max_age: float = 0
    min_free: int = 0
    on_operation: Callable[[str, float, str], None] = _ignore_operation
    on_retry: Callable[[str], None] = _ignore_retry
    on_pruned: Callable[[int], None] = _ignore_pruned
    on_space: Callable[[Probe], None] = _ignore_space
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
    """How many messages are kept and the sum of their body octets."""

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


class Store(Protocol):
    """The write side, used from the event loop only."""

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
