"""A sink: the server relays what it takes to an SMTP server of the verifier's.

The sink listens at `port` of this machine, at the address `host` (0.0.0.0, as containers reach it).
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

from prixfixe.verify.readback.base import Readback
from prixfixe.verify.readback.delivered import delivered

if TYPE_CHECKING:
    from prixfixe.verify.dialogue.servers import Stored
    from prixfixe.verify.readback.base import Place

__all__ = ["Sink"]


class _Keep:
    """The handler: keeps what comes."""

    def __init__(self) -> None:
        self.stored: list[Stored] = []

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: ANN401, N802
        self.stored.append(
            delivered(envelope.mail_from or "", envelope.rcpt_tos, envelope.original_content)
        )
        return "250 OK"


class Sink(Readback):
    """An aiosmtpd server in a thread."""

    is_at_once = False
    knows_order = False
    outlives = True

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._keep = _Keep()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        self.port: int = self._server.sockets[0].getsockname()[1]

    async def _listen(self) -> asyncio.Server:
        from aiosmtpd.smtp import SMTP

        host = str(self.place.options.get("host", "0.0.0.0"))  # noqa: S104 - containers come from anywhere
        port = int(self.place.options.get("port", 0))
        return await self._loop.create_server(
            lambda: SMTP(self._keep, enable_SMTPUTF8=True, hostname="sink.test"), host, port
        )

    def clear(self) -> None:
        self._keep.stored.clear()

    def read(self) -> list[Stored]:
        return list(self._keep.stored)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._server.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
