"""The steps that bring the index from what it has to what the store has.

A store in the order of arrival is followed from the last message taken; where their numbers differ
then, all places are compared. A store in the order of names is compared as a whole whenever it
changed, at most so often that the comparing takes a tenth of the time. A store of several
servers tells what changed.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from prixfixe.stores.base import NOWHERE, DamagedError, Place, Shared

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from prixfixe.mail.message import Message
    from prixfixe.stores.base import Arrival, Followed, State
    from prixfixe.stores.index.catalog import Catalog, Described

__all__ = ["Steps"]

BATCH = 64  # messages added in one transaction
BATCH_BYTES = 1 << 20  # or as soon as their texts are so long
COMPARED = 5000  # places compared at once
TRIES = 4  # while messages come and go
MAX_AGE_SECONDS = 1.0  # of a look at what others did in the folder of a store
SHARE = 10  # a look may be as old as this many times what it takes


class StoppedError(Exception):
    """The caller has no more time; the rest is done at the next call."""


class Steps:
    """The index's catalog and a reader of its store; `synced` is the state both have."""

    def __init__(
        self, catalog: Catalog, reader: Followed, describe: Callable[[Message], Described]
    ) -> None:
        self.catalog = catalog
        self.synced: State | None = None
        self.is_behind = False  # messages are being taken
        self._reader = reader
        self._describe = describe
        self._shared = reader if isinstance(reader, Shared) else None
        self._since: object = None  # until when the changes of a shared store are taken
        if self._shared is not None:
            catalog.spread = self._shared.say
        self._skipped: set[str] = set()  # damaged: in the store, and in no list
        self._looked_at, self._look_cost = float("-inf"), 0.0
        self._may_go_on: Callable[[], bool] = lambda: True
        # The store may be another than the index saw last: a copy that was put back.
        self._is_compared = catalog.messages == 0

    def close(self) -> None:
        """Close both."""
        self.catalog.close()
        self._reader.close()

    def doubt(self) -> None:
        """Look again, whatever was seen before and however lately."""
        self.synced, self._looked_at = None, float("-inf")

    def follow(self, arrived: Sequence[Arrival], may_go_on: Callable[[], bool]) -> bool:
        """Take what is new, take out what is gone; tell whether all is done."""
        self._may_go_on = may_go_on
        try:
            is_done = self._followed(arrived)
        except StoppedError:
            is_done = False
        self.is_behind = not is_done
        return is_done

    def _followed(self, arrived: Sequence[Arrival]) -> bool:
        if self._shared is not None:
            return self._take_changes(self._shared)
        if self._reader.is_in_order_of_arrival:
            return self._append()
        self._take([self._reader.expect(each) for each in arrived])
        return self._look()

    # --- in the order of arrival

    def _append(self) -> bool:
        for _ in range(TRIES):
            state = self._reader.state()
            if state == self.synced:
                return True
            if self._is_compared and self._is_cursor_true():
                self._take_until(state.last.key)
                if self._agrees(state):
                    self.synced = state
                    return True
                if self._reader.state() != state:
                    continue
            self._compare()
        return False

    def _is_cursor_true(self) -> bool:
        """Whether nothing below the last message taken can be another than it was."""
        cursor = self.catalog.cursor
        return cursor == NOWHERE or self._reader.places(cursor.key - 1, 1)[:1] == [cursor]

    def _take_until(self, last: int) -> None:
        while places := self._reader.places(self.catalog.cursor.key, BATCH):
            wanted = [place for place in places if place.key <= last]
            self._take(wanted, is_next=True)
            if len(wanted) < BATCH:
                return

    def _agrees(self, state: State) -> bool:
        """Whether there are as many messages here as there, once retention's are taken out."""
        if self._messages() != state.messages:
            first = next(iter(self._reader.places(-1, 1)), None)
            if first is not None:
                self.catalog.remove_below(first.key)
        return self._messages() == state.messages

    def _messages(self) -> int:
        return self.catalog.messages + len(self._skipped)

    # --- of several servers

    def _take_changes(self, shared: Shared) -> bool:
        state = self._reader.state()
        if state == self.synced:
            return True
        changes = shared.changes(self._since)
        if changes.added is None:
            self._compare()
        else:
            known = self.catalog.known([place.id for place in changes.added]) | self._skipped
            self._take([place for place in changes.added if place.id not in known])
        self.catalog.remove(changes.gone)
        self.catalog.take(changes.said)
        self._since, self.synced = changes.since, state
        return True

    # --- in the order of names

    def _look(self) -> bool:
        state, began = self._reader.state(), time.monotonic()
        most = min(MAX_AGE_SECONDS, SHARE * self._look_cost)
        if state == self.synced or began - self._looked_at < most:
            return True
        self._compare()
        self._looked_at = time.monotonic()
        self._look_cost = self._looked_at - began
        self.synced = state
        return True

    # --- both

    def _compare(self) -> None:
        """Compare all places with those here, a bounded number at once."""
        after, last = -1, NOWHERE
        listed: set[str] = set()
        while True:
            places = self._reader.places(after, COMPARED)
            is_last = len(places) < COMPARED
            until = None if is_last else places[-1].key
            self._compare_some(places, self.catalog.between(after, until))
            listed |= self._skipped & {place.id for place in places}
            last = places[-1] if places else last
            if until is None:
                break
            after = until
        self._skipped &= listed
        self._is_compared = True
        if self._reader.is_in_order_of_arrival:
            self.catalog.add((), last)

    def _compare_some(self, places: Sequence[Place], have: set[str]) -> None:
        listed = {place.id for place in places}
        self.catalog.remove([each for each in have if each not in listed])
        known = have | self._skipped
        self._take([place for place in places if place.id not in known])

    def _take(self, places: Sequence[Place], *, is_next: bool = False) -> None:
        """Add messages. Raises `StoppedError` between two batches."""
        self.is_behind = self.is_behind or bool(places)
        described: list[tuple[Place, Described]] = []
        octets = 0
        for number, place in enumerate(places, 1):
            found = self._described(place)
            if found is not None:
                described.append((place, found))
                octets += len(found.record) + len(found.text.text)
            if number % BATCH == 0 or octets >= BATCH_BYTES or number == len(places):
                self.catalog.add(described, place if is_next else None)
                described, octets = [], 0
                if not self._may_go_on():
                    raise StoppedError

    def _described(self, place: Place) -> Described | None:
        try:
            message = self._reader.get(place.id)
        except DamagedError:  # Listed nowhere, an error when asked for by its id.
            self._skipped.add(place.id)
            return None
        return None if message is None else self._describe(message)
