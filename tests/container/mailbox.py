"""Read back the messages of a server through its HTTP API, byte for byte.

Messages come oldest first. `body` is what the client sent; `raw` is the file with its trace header.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Kept", "read_all"]

PAGE = 1000


@dataclass(frozen=True)
class Kept:
    """A message and its envelope."""

    id: str
    sender: str
    recipients: tuple[str, ...]
    body: bytes
    raw: bytes
    facts: dict[str, Any]


def read_all(ask: Callable[[str], Any]) -> list[Kept]:
    """Return all messages."""
    return [_read_one(ask, name) for name in reversed(list(_ids(ask)))]


def _ids(ask: Callable[[str], Any]) -> Iterator[str]:
    start = 0
    while True:
        page = _asked(ask, f"messages?start={start}&limit={PAGE}").json["messages"]
        yield from (one["ID"] for one in page)
        if len(page) < PAGE:
            return
        start += PAGE


def _read_one(ask: Callable[[str], Any], name: str) -> Kept:
    facts = _asked(ask, f"message/{name}/envelope").json
    raw = _asked(ask, f"message/{name}/raw").body
    recipients = tuple(one["Address"] for one in facts["To"])
    body = raw[len(raw) - facts["Size"] :]
    return Kept(name, facts["From"], recipients, body, raw, facts)


def _asked(ask: Callable[[str], Any], path: str) -> Any:
    answer = ask(f"/api/v1/{path}")
    assert answer.status == 200, (path, answer)
    return answer
