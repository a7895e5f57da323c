"""`prixfixe migrate`: make the store of the settings, or update it, and copy mail into it."""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import TYPE_CHECKING

from prixfixe.cli.environment import Failure, complain, settings
from prixfixe.cli.messages import Reading
from prixfixe.stores.base import StoreError, StoreOpenError, StoreOptions
from prixfixe.stores.registry import migrate as migrate_store
from prixfixe.stores.registry import open_reader, open_store, shown

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from prixfixe.mail.message import Message
    from prixfixe.settings import Settings
    from prixfixe.stores.base import Store

__all__ = ["migrate"]

_AT_ONCE = 64


def migrate(args: argparse.Namespace) -> int:
    """Migrate, copy if asked to, and say what was done; fail with 3 if a store cannot be opened."""
    effective = settings()
    try:
        print(migrate_store(effective.store))
        return 0 if args.source is None else _copy(args.source, effective)
    except StoreOpenError as error:
        raise Failure(3, error) from None


def _copy(source: str, effective: Settings) -> int:
    """Copy what another store has, with ids, times and envelopes; what is there is passed over."""
    reader = open_reader(source)
    try:
        messages = Reading(reader, reversed(reader.ids()))
        copied, there, failed = asyncio.run(_copied(iter(messages), effective))
    finally:
        reader.close()
    print(f"{copied} messages copied from {shown(source)}; {there} were there already")
    return 1 if failed or messages.damaged else 0


async def _copied(messages: Iterator[Message], effective: Settings) -> tuple[int, int, int]:
    """Return how many messages were copied, how many were there, and how many failed."""
    store = open_store(effective.store, StoreOptions(quorum=effective.store_quorum))
    await store.open()
    counts = [0, 0, 0]
    try:
        while group := list(islice(messages, _AT_ONCE)):
            for kind in await _kept(store, group):
                counts[{"": 0, "conflict": 1}.get(kind, 2)] += 1
    finally:
        await store.close()
    return counts[0], counts[1], counts[2]


async def _kept(store: Store, group: list[Message]) -> list[str]:
    """Keep these; return for each "", or the kind of the error, which is told."""
    kinds = []
    puts = [store.put(message) for message in group]
    await asyncio.wait(puts)
    for message, put in zip(group, puts, strict=True):
        error = put.exception()
        kinds.append(error.kind if isinstance(error, StoreError) else "internal" if error else "")
        if kinds[-1] not in ("", "conflict"):
            complain(f"message {message.id!a}: {error}")
    return kinds
