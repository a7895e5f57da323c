"""MailDev's API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prixfixe.verify.readback.base import Readback
from prixfixe.verify.readback.delivered import delivered
from prixfixe.verify.readback.web import Web

if TYPE_CHECKING:
    from prixfixe.verify.dialogue.servers import Stored
    from prixfixe.verify.readback.base import Place

__all__ = ["MailDev"]


class MailDev(Readback):
    """`GET /email`, and the source of each."""

    is_at_once = False  # it parses and writes after its 250
    knows_order = False

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.web = Web(place)
        self._old: set[str] = set()
        self._seen: dict[str, Stored] = {}

    def probe(self) -> bool:
        """Whether the API is this one."""
        status, body = self.web.ask("GET", "/email")
        return status == 200 and body[:1] == b"["

    def _listed(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.web.json("/email")
        return found

    def clear(self) -> None:
        self.web.ask("DELETE", "/email/all")
        self._old = {one["id"] for one in self._listed()}

    def read(self) -> list[Stored]:
        return [self._message(one) for one in self._listed() if one["id"] not in self._old]

    def _message(self, facts: dict[str, Any]) -> Stored:
        name = facts["id"]
        if name not in self._seen:
            raw = self.web.get(f"/email/{name}/source")
            envelope = facts["envelope"]
            sender = envelope["from"]["address"] if envelope["from"] else ""
            recipients = [one["address"] for one in envelope["to"]]
            self._seen[name] = delivered(sender, recipients, raw)
        return self._seen[name]

    def close(self) -> None:
        self.web.close()
