"""One client's place in the connection limits: counted once and released once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from prixfixe.connection.services import Services
    from prixfixe.limits.admission import Refusal
    from prixfixe.smtp.state import State

__all__ = ["Seat"]


class Seat:
    """One place in the limit on connections; `host` and `port` are the client's."""

    __slots__ = ("_counted", "_is_recorded", "_listener", "_services", "host", "port")

    def __init__(self, services: Services, listener: str) -> None:
        self._services = services
        self._listener = listener
        self._counted: tuple[str, int] | None = None  # the host and port that were counted
        self._is_recorded = True  # false while a record of the session's end is due
        self.host = ""
        self.port = 0

    @property
    def peer(self) -> str:
        """The client as `host:port`; behind PROXY, the real one."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def name(self, peer: Any) -> None:  # noqa: ANN401 - whatever the transport calls a peer
        """Set the client's address from the transport or a PROXY header."""
        host, port = (str(peer[0]), int(peer[1])) if peer else ("", 0)
        self.host = host.removeprefix("::ffff:")  # An IPv4 client of a dual-stack listener.
        self.port = port

    def reserve(self, make_room: Callable[[], bool], *, is_proxied: bool) -> Refusal | None:
        """Count the connection, or return why not; a proxied client is named by `identify`."""
        host, port = ("", 0) if is_proxied else (self.host, self.port)
        refusal = self._services.admission.admit(host, port, make_room)
        if refusal is None:
            self._counted = (host, port)
            self._services.metrics.connection_opened(self._listener)
        return refusal

    def identify(self) -> Refusal | None:
        """Count the connection for the client that a PROXY header named, or return why not."""
        refusal = self._services.admission.identify(self.host)
        if refusal is None:
            self._counted = (self.host, self.port)
        return refusal

    def is_probe(self) -> bool:
        """Whether this is a health probe."""
        return self._services.admission.is_probe(self.host, self.port)

    def is_client(self) -> bool:
        """Whether the connection is counted: neither refused nor a health probe."""
        counted = self._counted
        return counted is not None and not self._services.admission.is_probe(*counted)

    def welcome(self, state: State) -> None:
        """Record an admitted client."""
        is_probe = self.is_probe()
        self._services.metrics.connection(self._listener, "probe" if is_probe else "accepted")
        if not is_probe:
            self._services.log.session_began(state, self._listener)
            self._is_recorded = False

    def give_back(self) -> None:
        """Release the place, once."""
        counted, self._counted = self._counted, None
        if counted is not None:
            self._services.admission.leave(*counted)
            self._services.metrics.connection_closed(self._listener)

    def record_end(self, state: State, end: str, seconds: float) -> None:
        """Record the end of an admitted client's session, once."""
        if not self._is_recorded:
            self._is_recorded = True
            self._services.metrics.session_ended(end, seconds)
            self._services.log.session_ended(state, end, seconds)
