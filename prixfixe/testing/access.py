"""How an inbox reaches its server."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from prixfixe.testing.api_client import ApiClient
from prixfixe.testing.sources import HttpSource, Source

__all__ = ["Access", "Accessible"]


class Access(NamedTuple):
    """Where mail is found, and the HTTP API; `is_shared` if other tests may use the server too."""

    source: Source
    api: ApiClient
    is_shared: bool = False

    @classmethod
    def of(cls, url: str, token: str | None = None) -> Access:
        """Return the access to a server by its HTTP API."""
        api = ApiClient(url, token)
        return cls(HttpSource(api), api, is_shared=True)


class Accessible(Protocol):
    """A server that an inbox can be made of."""

    @property
    def access(self) -> Access:
        """How it is reached."""
        ...
