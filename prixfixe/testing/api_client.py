"""Requests to the HTTP API, over connections that stay open between them."""

from __future__ import annotations

import json
import weakref
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import urlencode, urlsplit

from prixfixe.testing.environment import TOKEN
from prixfixe.testing.errors import KitError

__all__ = ["ApiClient", "ApiError"]

_SPARE_SECONDS = 30.0  # that an answer may take beyond the time that was asked for


class ApiError(KitError):
    """The API refused a request; `status` is its answer, the text its reason."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class ApiClient:
    """A client of a server's HTTP API; threads may share it."""

    def __init__(self, url: str, token: str | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            msg = f"url={url!r}: expected http://HOST:PORT, such as http://127.0.0.1:8025"
            raise KitError(msg)
        if "@" in parts.netloc:  # A secret: the text does not repeat it.
            raise KitError(f"the URL has a user or a password: put the token into {TOKEN} instead")
        self.url = url.rstrip("/")
        self.token = token
        self._parts = parts
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._spare: list[HTTPConnection] = []  # open, and used by nobody
        weakref.finalize(self, _close_all, self._spare)

    def json(
        self,
        method: str,
        path: str,
        *,
        query: dict[str, Any] | None = None,
        body: Any = None,  # noqa: ANN401 - whatever JSON can hold
        seconds: float = 0.0,
    ) -> Any:  # noqa: ANN401 - likewise
        """Send a request, and return the JSON of its answer, or its text.

        The server may wait for `seconds` before it answers.

        Raises:
            ApiError: the answer is an error.
            KitError: there is no answer.

        """
        octets = self.octets(method, path, query=query, body=body, seconds=seconds)
        try:
            return json.loads(octets)
        except ValueError:
            return octets.decode(errors="replace")

    def octets(
        self,
        method: str,
        path: str,
        *,
        query: dict[str, Any] | None = None,
        body: Any = None,  # noqa: ANN401 - see above
        seconds: float = 0.0,
    ) -> bytes:
        """Send a request, and return the body of its answer; see `json`."""
        given = {name: value for name, value in (query or {}).items() if value is not None}
        target = f"{self._parts.path.rstrip('/')}{path}"
        target += f"?{urlencode(given)}" if given else ""
        status, octets = self._asked(method, target, body, seconds)
        if status >= 400:
            raise ApiError(status, f"{method} {path}: {status}: {_reason(status, octets)}")
        return octets

    def _asked(
        self,
        method: str,
        target: str,
        body: Any,  # noqa: ANN401 - see above
        seconds: float,
    ) -> tuple[int, bytes]:
        """Ask on a connection that is open; if the server closed it meanwhile, on a new one."""
        sent = None if body is None else json.dumps(body).encode()
        kind = {} if sent is None else {"Content-Type": "application/json"}
        try:
            connection = self._spare.pop()
        except IndexError:
            connection = self._new_connection()
        while True:
            is_new = connection.sock is None
            try:
                _set_timeout(connection, seconds + _SPARE_SECONDS)
                connection.request(method, target, sent, {**self._headers, **kind})
                answer = connection.getresponse()
                status, octets = answer.status, answer.read()
            except (HTTPException, OSError) as error:
                connection.close()
                if is_new or isinstance(error, TimeoutError):
                    reason = str(error) or type(error).__name__
                    msg = f"{method} {self.url}{target}: no answer: {reason}"
                    raise KitError(msg) from error
            except BaseException:
                connection.close()
                raise
            else:
                self._spare.append(connection)
                return status, octets

    def _new_connection(self) -> HTTPConnection:
        make = HTTPSConnection if self._parts.scheme == "https" else HTTPConnection
        return make(str(self._parts.hostname), self._parts.port)

    def close(self) -> None:
        """Close the connections that nobody uses."""
        _close_all(self._spare)


def _set_timeout(connection: HTTPConnection, seconds: float) -> None:
    connection.timeout = seconds
    if connection.sock is not None:
        connection.sock.settimeout(seconds)


def _close_all(connections: list[HTTPConnection]) -> None:
    while connections:
        connections.pop().close()


def _reason(status: int, octets: bytes) -> str:
    is_locked = status == HTTPStatus.UNAUTHORIZED
    hint = f" (set {TOKEN} to the server's SMTP_HTTP_TOKEN)" if is_locked else ""
    try:
        return str(json.loads(octets)["Error"]) + hint
    except (ValueError, LookupError, TypeError):
        return octets.decode(errors="replace").strip()[:500] + hint
