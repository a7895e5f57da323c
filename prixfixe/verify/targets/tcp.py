"""`tcp://HOST:PORT`: a server that runs already; nothing can be done to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prixfixe.verify.targets.base import Launch, Machine, Source

if TYPE_CHECKING:
    from typing import Any

    from prixfixe.verify.contract import Contract

__all__ = ["TcpSource"]


class TcpMachine(Machine):
    """A server somewhere; its other ports are on the same host."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port

    def address(self, port: int) -> tuple[str, int]:
        return self.host, port


class TcpSource(Source):
    """One address."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self.name = f"tcp://{host}:{port}"

    def launch(self, launch: Launch) -> Machine:  # noqa: ARG002 - it runs as it was started
        return TcpMachine(self.host, self.port)

    def complete(self, contract: Contract) -> dict[str, Any]:
        tables: dict[str, Any] = {"target": {"smtp_port": self.port}}
        if not contract.table("readback"):
            tables["readback"] = {"kind": "none"}
        return tables
