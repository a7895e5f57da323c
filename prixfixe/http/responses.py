"""What all HTTP responses share: JSON, safe headers, framing, errors, query arguments.

An error is JSON with a message, never a path or the text of an exception.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from prixfixe.http.connection import connection_of
from prixfixe.http.safe import CLOSE, SAFE, json_octets
from prixfixe.mail.query import QueryError
from prixfixe.stores.base import DamagedError, StoreError, StoreOpenError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.requests import Request

    from prixfixe.http.shelf import Loan

__all__ = ["ERRORS", "Framing", "InPieces", "Json", "number", "only", "whole"]

_DIGITS = 20  # more are no number that is asked for, and slow to read


class Json(Response):
    """A JSON response; ASCII, so that whatever mail holds can be written."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:  # noqa: ANN401 - whatever JSON can hold
        """Encode."""
        return json_octets(content)


class InPieces(Response):
    """An answer that is made while it is sent; what it is made of is on loan until then."""

    def __init__(
        self,
        pieces: Iterable[bytes],
        loan: Loan[Any],
        kind: str,
        length: int | None = None,
    ) -> None:
        super().__init__(headers={"Content-Type": kind})
        del self.headers["content-length"]
        if length is not None:
            self.headers["content-length"] = str(length)
        self._pieces = pieces
        self._loan = loan

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401, ARG002
        """Send."""
        connection = connection_of(scope)
        start = {"status": self.status_code, "headers": self.raw_headers}
        try:
            await send({"type": "http.response.start", **start})
            for piece in self._pieces if scope["method"] != "HEAD" else ():
                if connection.is_lost:
                    break
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            self._loan.give_back()


class Framing:
    """The outermost middleware: what any request and any answer must be.

    An answer before the end of its request closes the connection (RFC 9112 9.3), and so does a
    request whose length is told twice (6.1).
    """

    def __init__(self, app: Any) -> None:  # noqa: ANN401 - an ASGI application
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401
        """Answer, or pass on."""
        connection = connection_of(scope)

        async def send_safely(event: Any) -> None:  # noqa: ANN401
            if event["type"] == "http.response.start":
                event["headers"] = _made_safe(event["headers"])
                if connection.is_body_open:
                    event["headers"].append(CLOSE)
            await send(event)

        if scope["method"] in ("GET", "HEAD"):
            connection.reading = asyncio.current_task()
        app = _doubtful if _is_doubtful(scope) else self._app
        try:
            await app(scope, lambda: connection.receive(receive), send_safely)
        except asyncio.CancelledError:
            if not connection.is_lost:  # else nobody waits for it
                raise


def _made_safe(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Add what every answer has, but for what this one has in its own way."""
    own = {name.lower() for name, _ in headers}
    return [*headers, *(header for header in SAFE if header[0] not in own)]


def _is_doubtful(scope: Any) -> bool:  # noqa: ANN401 - ASGI's
    """Whether another server could see another end of the request."""
    names = {name for name, _ in scope["headers"]}
    has_encoding = b"transfer-encoding" in names
    return has_encoding and (b"content-length" in names or scope["http_version"] != "1.1")


async def _doubtful(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401
    refusal = Json({"Error": "expected one length: Content-Length or Transfer-Encoding"}, 400)
    refusal.headers["connection"] = "close"
    await refusal(scope, receive, send)


async def _http_error(_request: Request, error: Exception) -> Response:
    status, headers = getattr(error, "status_code", 500), getattr(error, "headers", None)
    return Json({"Error": getattr(error, "detail", "error")}, status, headers)


async def _bad_request(_request: Request, error: Exception) -> Response:
    return Json({"Error": str(error)}, 400)


async def _gone(_request: Request, _error: Exception) -> Response:
    return Json({"Error": "the request has no end"}, 400)


async def _store_error(_request: Request, error: Exception) -> Response:
    if isinstance(error, DamagedError):
        return Json({"Error": "this message is damaged on disk"}, 500)
    return Json({"Error": "the store cannot be read now"}, 503)


async def _unexpected(_request: Request, _error: Exception) -> Response:
    return Json({"Error": "internal error"}, 500)


ERRORS = {
    HTTPException: _http_error,
    ClientDisconnect: _gone,
    DamagedError: _store_error,
    StoreError: _store_error,
    StoreOpenError: _store_error,
    QueryError: _bad_request,
    Exception: _unexpected,
}


def only(request: Request, *names: str) -> None:
    """Answer 400 to parameters that are not of these: what is not understood is not passed over."""
    unknown = sorted(set(request.query_params) - set(names))
    if unknown:
        expected = f"expected {', '.join(names)}" if names else "expected none"
        raise HTTPException(400, f"unknown parameter {unknown[0][:100]!a}: {expected}")


def number(request: Request, name: str, default: float, most: float) -> float:
    """Return a number of the query, or answer 400 with its bounds."""
    text = request.query_params.get(name)
    try:
        number = default if text is None else float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= most:
        raise HTTPException(400, f"{name}: expected a number from 0 to {most:.15g}")
    return number


def whole(request: Request, name: str, default: int, most: int) -> int:
    """Return a whole number of the query, or answer 400 with its bounds."""
    text = request.query_params.get(name, str(default))
    is_number = text.isascii() and text.isdecimal() and len(text) <= _DIGITS
    if not is_number or int(text) > most:
        raise HTTPException(400, f"{name}: expected a whole number from 0 to {most}")
    return int(text)
