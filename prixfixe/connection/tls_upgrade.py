"""The TLS handshake of a server on a connection that exists already.

Owns: moving a plain transport to TLS (RFC 3207, RFC 8314), with octets of the client's that were
read before TLS was there to take them: a ClientHello comes at once on the implicit-TLS port, often
in one segment with a PROXY header.
Promises: no octet of the handshake is lost, none that came later reaches it twice; a peer that
stalls is given up after `seconds`.
Refuses: deciding what earlier octets are worth. STARTTLS hands none over (RFC 3207 section 4.2).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

__all__ = ["shake_hands"]

GOODBYE_SECONDS: Final = 2.0  # for the peer's close_notify; mail does not wait for it


async def shake_hands(
    transport: Any,  # noqa: ANN401 - the transports of loops have no common class
    protocol: asyncio.Protocol,
    context: ssl.SSLContext,
    seconds: float,
    take_early: Callable[[], bytes] = bytes,
) -> Any:  # noqa: ANN401
    """Return the encrypted transport. `take_early` gives what `protocol` was sent until then.

    Raises:
        OSError: the handshake failed (`ssl.SSLError` is one) or the peer left.

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
        # One turn, and the loop's TLS has taken the transport over: nothing comes to `protocol`
        # any more. Its own start is scheduled by now, so what is scheduled here comes after it.
        await asyncio.sleep(0)
        octets = take_early()
        if octets:
            loop.call_soon(_feed, transport, octets)
        return await handshake
    finally:
        handshake.cancel()


def _feed(transport: Any, octets: bytes) -> None:  # noqa: ANN401
    """Give octets to the transport's protocol as the transport itself would."""
    protocol = transport.get_protocol()
    while octets and not transport.is_closing():
        buffer = protocol.get_buffer(len(octets))
        size = min(len(buffer), len(octets))
        buffer[:size] = octets[:size]
        protocol.buffer_updated(size)
        octets = octets[size:]
