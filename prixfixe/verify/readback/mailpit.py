"""Mailpit's API, and the envelope that PrixFixe's has beyond it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from prixfixe.verify.readback.base import Readback
from prixfixe.verify.readback.delivered import PeerStored, delivered
from prixfixe.verify.readback.web import Web

if TYPE_CHECKING:
    from prixfixe.verify.dialogue.servers import Stored
    from prixfixe.verify.readback.base import Place

__all__ = ["Mailpit"]

PAGE = 1000


class Mailpit(Readback):
    """`GET /api/v1/messages`, each message, its raw text."""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.web = Web(place)
        self._seen: dict[str, Stored] = {}
        self._has_envelope: bool | None = None

    def probe(self) -> bool:
        """Whether the API is this one."""
        status, body = self.web.ask("GET", "/api/v1/info")
        return status == 200 and b'"Version"' in body

    def clear(self) -> None:
        self.web.ask("DELETE", "/api/v1/messages")
        self._seen.clear()

    def read(self) -> list[Stored]:
        names: list[str] = []
        while True:
            page = self.web.json(f"/api/v1/messages?start={len(names)}&limit={PAGE}")["messages"]
            names += [one["ID"] for one in page]
            if len(page) < PAGE:
                break
        return [self._message(name) for name in reversed(names)]

    def _message(self, name: str) -> Stored:
        if name not in self._seen:
            self._seen[name] = self._read(name)
        return self._seen[name]

    def _read(self, name: str) -> Stored:
        raw = self.web.get(f"/api/v1/message/{name}/raw")
        if self._has_envelope is not False:
            status, body = self.web.ask("GET", f"/api/v1/message/{name}/envelope")
            self._has_envelope = status == 200
            if self._has_envelope:
                return _with_envelope(json.loads(body), raw)
        facts = self.web.json(f"/api/v1/message/{name}")
        recipients = [one["Address"] for key in ("To", "Cc", "Bcc") for one in facts[key] or ()]
        return delivered(facts["ReturnPath"], recipients, raw)

    def close(self) -> None:
        self.web.close()


def _with_envelope(facts: dict[str, Any], raw: bytes) -> Stored:
    recipients = tuple(one["Address"] for one in facts["To"])
    return PeerStored(facts["From"], recipients, raw[len(raw) - facts["Size"] :], raw, facts)
