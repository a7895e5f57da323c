"""How those who wait for room hear that some was given back."""

from __future__ import annotations

import asyncio
import contextlib

__all__ = ["Freed"]


class Freed:
    """A word to one who waits, while others give back what they hold."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def tell(self) -> None:
        """Wake who waits."""
        self._event.set()

    async def wait(self, seconds: float) -> None:
        """Return when something is given back, or after so many seconds."""
        self._event.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._event.wait()
