"""A store in memory, for tests and to measure everything but the disk.

Retention works as in durable stores.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from itertools import islice, takewhile
from typing import TYPE_CHECKING

from prixfixe.stores.base import NOWHERE, Place, Probe, Recovery, State, StoreError, Totals

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prixfixe.mail.message import Message
    from prixfixe.stores.base import Arrival, StoreOptions

__all__ = ["MemoryReader", "MemoryStore"]


class MemoryStore:
    """The messages in the order they came, and a lock for readers in other threads."""

    def __init__(self, options: StoreOptions) -> None:
        self._options = options
        self._kept: OrderedDict[str, Message] = OrderedDict()
        self._keys: dict[str, int] = {}  # how many came before it, for those that are kept
        self._came = 0
        self._bytes = 0
        self._lock = threading.Lock()
        self._is_closed = False

    async def open(self) -> Recovery:
        """Start; there is never anything to recover."""
        self._loop = asyncio.get_running_loop()  # asking for each message costs a system call
        return Recovery()

    def put(self, message: Message) -> asyncio.Future[None]:
        """Keep one message at once."""
        future = self._loop.create_future()
        if self._is_closed:
            future.set_exception(StoreError("the store is closed", kind="closed"))
        elif message.id in self._kept:
            future.set_exception(StoreError(f"id {message.id} is taken", kind="conflict"))
        else:
            self._keep(message)
            future.set_result(None)
        return future

    def _keep(self, message: Message) -> None:
        with self._lock:
            self._kept[message.id] = message
            self._came += 1
            self._keys[message.id] = self._came
            self._bytes += len(message.body)
            pruned = self._prune()
        if pruned:
            self._options.on_pruned(pruned)

    def _prune(self) -> int:
        options, kept = self._options, self._kept
        pruned = 0
        while options.max_messages and len(kept) > options.max_messages:
            pruned += self._drop_oldest()
        oldest_allowed = options.clock() - options.max_age if options.max_age else None
        while oldest_allowed is not None and kept:
            if next(iter(kept.values())).received_at >= oldest_allowed:
                break
            pruned += self._drop_oldest()
        return pruned

    def _drop_oldest(self) -> int:
        name, message = self._kept.popitem(last=False)
        del self._keys[name]
        self._bytes -= len(message.body)
        return 1

    async def delete(self, ids: Sequence[str] | None) -> int:
        """Delete these messages, or all of them; return how many were there."""
        with self._lock:
            gone = list(self._kept) if ids is None else list(dict.fromkeys(ids))
            found = [self._kept.pop(each) for each in gone if each in self._kept]
            for message in found:
                del self._keys[message.id]
            self._bytes -= sum(len(message.body) for message in found)
        return len(found)

    async def probe(self) -> Probe:
        """Answer that a put would work."""
        if self._is_closed:
            raise StoreError("the store is closed", kind="closed")
        return Probe()

    async def close(self) -> None:
        """Refuse what comes next; what is kept stays readable."""
        self._is_closed = True

    def open_reader(self) -> MemoryReader:
        """Return a reader of this store, for any thread of this process."""
        return MemoryReader(self)

    def newest(self, start: int, limit: int | None) -> list[str]:
        """Return ids, newest first."""
        stop = None if limit is None else start + limit
        with self._lock:
            return list(islice(reversed(self._kept), start, stop))

    def find(self, message_id: str) -> Message | None:
        """Return one message."""
        with self._lock:
            return self._kept.get(message_id)

    def totals(self) -> Totals:
        """Return the counts."""
        with self._lock:
            return Totals(len(self._kept), self._bytes)

    def state(self) -> State:
        """Return what is there now."""
        with self._lock:
            last = next(reversed(self._kept), None)
            return State(len(self._kept), NOWHERE if last is None else self._place(last))

    def places(self, after: int, limit: int) -> list[Place]:
        """Return the places above a key, lowest first."""
        with self._lock:
            first = next(iter(self._kept), None)
            if first is None or self._keys[first] > after:
                return [self._place(name) for name in islice(self._kept, limit)]
            newer = takewhile(lambda name: self._keys[name] > after, reversed(self._kept))
            return [self._place(name) for name in reversed(list(newer))][:limit]

    def place(self, message_id: str) -> Place:
        """Return where a message stands."""
        with self._lock:
            return self._place(message_id) if message_id in self._keys else NOWHERE

    def _place(self, message_id: str) -> Place:
        return Place(self._keys[message_id], message_id)


class MemoryReader:
    """The read side of a `MemoryStore`."""

    is_in_order_of_arrival = True

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    def ids(self, start: int = 0, limit: int | None = None) -> Sequence[str]:
        """Return ids, newest first."""
        return self._store.newest(start, limit)

    def get(self, message_id: str) -> Message | None:
        """Return one message or None."""
        return self._store.find(message_id)

    def totals(self) -> Totals:
        """Return the counts."""
        return self._store.totals()

    def close(self) -> None:
        """Do nothing: there are no files."""

    def state(self) -> State:
        """Return what is there now."""
        return self._store.state()

    def places(self, after: int, limit: int) -> Sequence[Place]:
        """Return the places above a key, lowest first."""
        return self._store.places(after, limit)

    def expect(self, arrival: Arrival) -> Place:
        """Return where a message stands."""
        return self._store.place(arrival.id)
