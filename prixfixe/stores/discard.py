"""A store that accepts every message and stores none, to measure everything but a store."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from prixfixe.stores.base import Probe, Recovery, StoreError, Totals

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prixfixe.mail.message import Message
    from prixfixe.stores.base import StoreOptions

__all__ = ["DiscardStore", "EmptyReader"]


class DiscardStore:
    """Say yes and forget."""

    def __init__(self, options: StoreOptions) -> None:
        self._options = options
        self._is_closed = False

    async def open(self) -> Recovery:
        """Start; there is never anything to recover."""
        loop = asyncio.get_running_loop()
        self._kept: asyncio.Future[None] = loop.create_future()  # done, so all may share it
        self._kept.set_result(None)
        return Recovery()

    def put(self, message: Message) -> asyncio.Future[None]:  # noqa: ARG002
        """Forget the message."""
        if not self._is_closed:
            return self._kept
        future = self._kept.get_loop().create_future()
        future.set_exception(StoreError("the store is closed", kind="closed"))
        return future

    async def delete(self, ids: Sequence[str] | None) -> int:  # noqa: ARG002
        """Return 0: nothing was there."""
        return 0

    async def probe(self) -> Probe:
        """Answer that a put would work."""
        if self._is_closed:
            raise StoreError("the store is closed", kind="closed")
        return Probe()

    async def close(self) -> None:
        """Refuse what comes next."""
        self._is_closed = True

    def open_reader(self) -> EmptyReader:
        """Return a reader that finds nothing."""
        return EmptyReader()


class EmptyReader:
    """The read side of a store that keeps nothing."""

    def ids(self, start: int = 0, limit: int | None = None) -> Sequence[str]:  # noqa: ARG002
        """Return no ids."""
        return ()

    def get(self, message_id: str) -> Message | None:  # noqa: ARG002
        """Return None."""
        return None

    def totals(self) -> Totals:
        """Return zeros."""
        return Totals(0, 0)

    def close(self) -> None:
        """Do nothing: there are no files."""
