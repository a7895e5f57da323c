"""One HTTP connection to a server's API, opened again when the server ended it."""

from __future__ import annotations

import http.client
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from prixfixe.verify.dialogue.servers import UnseenError

if TYPE_CHECKING:
    from prixfixe.verify.readback.base import Place

__all__ = ["Web"]

SECONDS = 30.0


class Web:
    """Asks one API; the address is looked up anew for each connection, as a restart changes it."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._http: http.client.HTTPConnection | None = None

    def _connection(self) -> http.client.HTTPConnection:
        if self._http is None:
            url = urlsplit(str(self.place.options.get("url", "")))
            port = self.place.options.get("port", self.place.http_port)
            if url.hostname:
                host, port = url.hostname, url.port or 80
            elif port is None:
                raise UnseenError("no port of an API is known: set readback.port or .url")
            else:
                host, port = self.place.machine.address(int(port))
            self._http = http.client.HTTPConnection(host, int(port), timeout=SECONDS)
        return self._http

    def ask(self, method: str, path: str) -> tuple[int, bytes]:
        """Return the status and the body of an answer.

        Raises:
            UnseenError: nobody answers.

        """
        for is_last in (False, True):
            try:
                connection = self._connection()
                connection.request(method, path)
                answer = connection.getresponse()
                return answer.status, answer.read()
            except (OSError, http.client.HTTPException) as error:
                self.close()
                if is_last:
                    msg = f"the API does not answer {method} {path}: {error!r}"
                    raise UnseenError(msg) from error
        raise AssertionError  # pragma: no cover

    def get(self, path: str) -> bytes:
        """Return the body of a 200.

        Raises:
            UnseenError: the answer is another.

        """
        status, body = self.ask("GET", path)
        if status != 200:
            msg = f"the API answers GET {path} with {status}: {body!r:.200}"
            raise UnseenError(msg)
        return body

    def json(self, path: str) -> Any:  # noqa: ANN401 - whatever the API says
        """Return what the body of a 200 says."""
        return json.loads(self.get(path))

    def close(self) -> None:
        """Close the connection."""
        if self._http is not None:
            self._http.close()
        self._http = None
