"""A server that runs elsewhere and that tests share, known by its HTTP address."""

from __future__ import annotations

from urllib.parse import urlsplit

from prixfixe.testing.access import Access
from prixfixe.testing.environment import Reached, variables
from prixfixe.testing.errors import KitError
from prixfixe.testing.inbox import Inbox

__all__ = ["RemoteServer"]

_USUAL_PORT = 2525


class RemoteServer:
    """A running server, with the attributes of `Server`.

    Args:
        url: the address of its HTTP API.
        smtp: HOST:PORT of its SMTP listener, where that is not the URL's host and the port that
            the server tells (a container may publish another one).
        token: the token of the API (`SMTP_HTTP_TOKEN`).

    """

    def __init__(self, url: str, smtp: str | None = None, token: str | None = None) -> None:
        self.access = Access.of(url, token)
        self.url = self.access.api.url
        if smtp is None:
            self.smtp_host = str(urlsplit(url).hostname)
            self.smtp_port = self._told_port()
            return
        host, colon, port = smtp.rpartition(":")
        if not colon or not host or not port.isdecimal():
            raise KitError(f"smtp={smtp!r}: expected HOST:PORT, such as 127.0.0.1:2525")
        self.smtp_host, self.smtp_port = host.strip("[]"), int(port)

    def _told_port(self) -> int:
        told = self.access.api.json("GET", "/api/v1/info")
        return int(str(told.get("SMTP") or _USUAL_PORT).rpartition(":")[2])

    @property
    def env(self) -> dict[str, str]:
        """The variables in which applications look for their mail server."""
        return variables(
            Reached(self.smtp_host, self.smtp_port, self.url, token=self.access.api.token)
        )

    def inbox(self, name: str = "inbox") -> Inbox:
        """Return a new inbox; `name` is the local part of its address."""
        return Inbox(self, name)

    def close(self) -> None:
        """Close the connections to its API."""
        self.access.api.close()
