"""The process: aiosmtpd as its documentation shows it, at its own log level, which writes nothing."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from aiosmtpd.smtp import SMTP


class Handler:
    """Take every message for nothing."""

    async def handle_DATA(self, _server: SMTP, _session: Any, _envelope: Any) -> str:  # noqa: N802
        return "250 OK"


async def serve() -> None:
    """Serve until killed, and say on which port."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(Handler()), "127.0.0.1", 0, backlog=1024)
    print("ready", server.sockets[0].getsockname()[1], flush=True)  # noqa: T201
    await asyncio.Event().wait()


if __name__ == "__main__":
    if sys.argv[1] == "uvloop":
        import uvloop

        uvloop.run(serve())
    else:
        asyncio.run(serve())
