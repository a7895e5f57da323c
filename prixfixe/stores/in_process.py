"""The technologies without files: `memory:` and `discard:`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prixfixe.stores.technology import Technology

if TYPE_CHECKING:
    from prixfixe.stores.base import Store, StoreOptions

__all__ = ["DISCARD", "MEMORY"]

_NO_DISK = {"store_min_free": "a memory: or discard: store writes to no disk"}
_NO_MESSAGE = "a discard: store keeps no message"


def _is_nothing(rest: str) -> bool:
    return not rest


def _memory(_rest: str, options: StoreOptions) -> Store:
    from prixfixe.stores.memory import MemoryStore

    return MemoryStore(options)


def _discard(_rest: str, options: StoreOptions) -> Store:
    from prixfixe.stores.discard import DiscardStore

    return DiscardStore(options)


def _in_memory(_rest: str) -> None:
    """Keep the index where the mail is."""


MEMORY = Technology("memory:", _is_nothing, _memory, unused=_NO_DISK, index_path=_in_memory)
DISCARD = Technology(
    "discard:",
    _is_nothing,
    _discard,
    unused=_NO_DISK | {"store_max_messages": _NO_MESSAGE, "store_max_age": _NO_MESSAGE},
)
