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
        self._paths = ["/api/email", "/email"]  # of version 3, and of those before

    def _path(self) -> str:
        """Return the path of the list, found out once."""
        if len(self._paths) > 1 and self.web.ask("GET", self._paths[0])[0] == 404:
            self._paths.pop(0)
        self._paths = self._paths[:1]
        return self._paths[0]

    def probe(self) -> bool:
        """Whether the API is this one."""
        status, body = self.web.ask("GET", self._path())
        return status == 200 and body[:1] == b"["

    def _listed(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.web.json(self._path())
        return found

    def clear(self) -> None:
        self.web.ask("DELETE", f"{self._path()}/all")
        self._old = {one["id"] for one in self._listed()}

    def read(self) -> list[Stored]:
        return [self._message(one) for one in self._listed() if one["id"] not in self._old]

    def _message(self, facts: dict[str, Any]) -> Stored:
        name = facts["id"]
        if name not in self._seen:
            raw = self.web.get(f"{self._path()}/{name}/source")
            envelope = facts["envelope"]
            sender = envelope["from"]["address"] if envelope["from"] else ""
            recipients = [one["address"] for one in envelope["to"]]
            self._seen[name] = delivered(sender, recipients, raw)
        return self._seen[name]

    def close(self) -> None:
        self.web.close()
