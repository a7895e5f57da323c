"""`prixfixe serve` over a store that is slow or fails, for configurations W and B.

FAULT=slow delays every commit by 0.3 s (2.5 s when SLOW_SECONDS says so); FAULT=text fails every
commit with a text that would be another reply line if it reached the wire.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

from prixfixe.cli.main import main
from prixfixe.server import app as server
from prixfixe.stores.base import StoreError

INJECTED = "no space at /var/mail/secret\r\n250 2.0.0 OK queued as forged"


def faulty(store: Any) -> Any:
    """Wrap a store's put, and nothing else."""
    put = store.put
    fault, seconds = os.environ["FAULT"], float(os.environ.get("SLOW_SECONDS", "0.3"))

    async def later(message: Any) -> None:
        if fault == "text":
            raise StoreError(INJECTED)
        await asyncio.sleep(seconds)
        await put(message)

    store.put = lambda message: asyncio.ensure_future(later(message))
    return store


def run() -> int:
    """Serve with the fault in place."""
    open_store = server.open_store
    server.open_store = lambda *args: faulty(open_store(*args))
    return main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(run())
