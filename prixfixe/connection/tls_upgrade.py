"""Start TLS on an open connection, after STARTTLS (RFC 3207) or at once (RFC 8314).

Bytes that were read before TLS took over the transport are passed on to it exactly once: a
ClientHello often comes in one segment with a PROXY header.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

__all__ = ["shake_hands"]

GOODBYE_SECONDS: Final = 2.0  # for the client's close_notify


async def shake_hands(
    transport: Any,  # noqa: ANN401 - the transports of loops have no common class
    protocol: asyncio.Protocol,
    context: ssl.SSLContext,
    seconds: float,
    take_early: Callable[[], bytes] = bytes,
) -> Any:  # noqa: ANN401
    """Do the server's TLS handshake within `seconds`; return the encrypted transport.

    `take_early` returns the bytes that `protocol` received before TLS took over the transport.

    Raises:
        OSError: the handshake failed (`ssl.SSLError` is one) or the client left.

    """
    loop = asyncio.get_running_loop()
    handshake = asyncio.ensure_future(
        loop.start_tls(
            transport,
            protocol,
            context,
            server_side=True,
            ssl_handshake_timeout=seconds,
            ssl_shutdown_timeout=GOODBYE_SECONDS,
        )
    )
    try:
        # After one turn of the loop, TLS has taken over the transport, and `protocol` receives no
        # more bytes. The start of TLS is scheduled, and a call scheduled here runs after it.
        await asyncio.sleep(0)
        octets = take_early()
        if octets:
            loop.call_soon(_feed, transport, octets)
        return await handshake
    finally:
        handshake.cancel()


def _feed(transport: Any, octets: bytes) -> None:  # noqa: ANN401
    """Pass bytes to the transport's protocol as the transport itself would."""
    protocol = transport.get_protocol()
    while octets and not transport.is_closing():
        buffer = protocol.get_buffer(len(octets))
        size = min(len(buffer), len(octets))
        buffer[:size] = octets[:size]
        protocol.buffer_updated(size)
        octets = octets[size:]
