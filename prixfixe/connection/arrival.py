"""Input that arrives before the session reads: a PROXY header, or the start of TLS."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

from prixfixe.connection.flow import PAUSE_EARLY_OCTETS
from prixfixe.smtp import proxy_header

if TYPE_CHECKING:
    from prixfixe.connection.seat import Seat
    from prixfixe.connection.services import Services

__all__ = ["Arrival", "expects_header"]


def expects_header(services: Services, seat: Seat) -> bool:
    """Whether this client must send a PROXY header that names the real client."""
    networks = services.proxy_networks
    if not networks or services.admission.is_expected(seat.host, seat.port):
        return False
    if not seat.host:  # The client left before its address was read.
        return False
    address = ip_address(seat.host.partition("%")[0])
    return any(address in network for network in networks)


class Arrival:
    """The bytes received before the session reads."""

    __slots__ = ("_input",)

    def __init__(self) -> None:
        self._input = bytearray()

    def __len__(self) -> int:
        return len(self._input)

    @property
    def is_full(self) -> bool:
        """Whether reading must pause."""
        return len(self._input) > PAUSE_EARLY_OCTETS

    def receive(self, data: bytes) -> None:
        """Buffer bytes."""
        self._input += data

    def take_header(self) -> bytes | None:
        """Remove and return the PROXY header once it is whole, else return None.

        Raises:
            ProxyError: the bytes are not the beginning of a header.

        """
        size = proxy_header.header_octets(self._input)
        if size is None:
            return None
        header = bytes(self._input[:size])
        del self._input[:size]
        return header

    def take(self) -> bytes:
        """Remove and return all buffered bytes."""
        data, self._input = bytes(self._input), bytearray()
        return data
