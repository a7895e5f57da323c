"""What comes before there is a session to take it: a PROXY header, and the start of TLS."""

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
    """Whether this client must say with a PROXY header whom it speaks for."""
    networks = services.proxy_networks
    if not networks or services.admission.is_expected(seat.host, seat.port):
        return False
    if not seat.host:  # It left before it was asked for its name.
        return False
    address = ip_address(seat.host.partition("%")[0])
    return any(address in network for network in networks)


class Arrival:
    """The bytes that came too early for the session."""

    __slots__ = ("_input", "is_header_due")

    def __init__(self, *, is_header_due: bool = False) -> None:
        self._input = bytearray()
        self.is_header_due = is_header_due

    def __len__(self) -> int:
        return len(self._input)

    @property
    def is_full(self) -> bool:
        """Whether no more should be read."""
        return len(self._input) > PAUSE_EARLY_OCTETS

    def receive(self, data: bytes) -> None:
        """Keep bytes for who reads them first."""
        self._input += data

    def take_header(self) -> bytes | None:
        """Return the PROXY header once it is whole, else None.

        Raises:
            ProxyError: no header begins like this.

        """
        size = proxy_header.header_octets(self._input)
        if size is None:
            return None
        header = bytes(self._input[:size])
        del self._input[:size]
        self.is_header_due = False
        return header

    def take(self) -> bytes:
        """Return what was not read yet."""
        data, self._input = bytes(self._input), bytearray()
        return data
