"""The plan of a run, and its parts for several servers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["CLIENTS", "KIB", "Plan", "divided"]

KIB = 1024
CLIENTS = ("prixfixe", "aiosmtplib")  # the second is to check the first against


@dataclass(frozen=True, slots=True)
class Plan:
    """What to send; `rate` is messages a second for an open loop, None for a closed one."""

    host: str = "127.0.0.1"
    port: int = 2525
    messages: int = 100
    workers: int = 10
    sizes: tuple[int, ...] = (KIB,)  # bytes, taken in turn
    rate: float | None = None
    phase: float = 0.0  # how much later an open loop begins, in parts of its interval
    is_own: bool = False  # a connection of its own for each message
    is_piped: bool = False
    starttls: bool = False
    login: tuple[str, str] | None = None
    sender: str = "load@example.com"
    recipient: str = "load@example.com"
    timeout: float = 60.0
    client: str = CLIENTS[0]

    @property
    def target(self) -> str:
        """HOST:PORT, as people write it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def divided(plan: Plan, targets: Sequence[tuple[str, int]]) -> list[Plan]:
    """Return the plan of each server, with messages, workers and rate divided evenly."""
    return [
        replace(
            plan,
            host=host,
            port=port,
            messages=_share(plan.messages, len(targets), number),
            workers=max(1, _share(plan.workers, len(targets), number)),
            rate=None if plan.rate is None else plan.rate / len(targets),
            phase=number / len(targets),  # in turn, not all in the same moment
        )
        for number, (host, port) in enumerate(targets)
    ]


def _share(whole: int, parts: int, number: int) -> int:
    return whole // parts + (number < whole % parts)
