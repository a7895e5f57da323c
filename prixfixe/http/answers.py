"""What every answer of HTTP has in common: JSON, safe headers, the token, arguments.

Owns: the JSON response, the middleware, the errors, and reading numbers.
Promises: an error is JSON with a message, never a path or an exception's text.
Refuses: paths (see `app`).
"""

from __future__ import annotations

import hmac
import json
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.responses import Response

from prixfixe.query import QueryError
from prixfixe.stores.base import DamagedError, StoreError, StoreOpenError

if TYPE_CHECKING:
    from starlette.requests import Request

__all__ = ["ERRORS", "Headers", "Json", "number", "only", "whole"]

_DIGITS = 20  # more are no number that is asked for, and slow to read
_SAFE = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
}


class Json(Response):
    """A JSON response; ASCII, so that whatever mail holds can be written."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:  # noqa: ANN401 - whatever JSON can hold
        """Encode."""
        return json.dumps(content, separators=(",", ":")).encode("ascii") + b"\n"


class Headers:
    """Middleware: the token of /api, and headers that keep a browser from running mail."""

    def __init__(self, app: Any, token: str | None) -> None:  # noqa: ANN401 - an ASGI application
        self._app = app
        self._token = None if token is None else f"Bearer {token}".encode()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401
        """Answer, or pass on."""

        async def send_safely(event: Any) -> None:  # noqa: ANN401
            if event["type"] == "http.response.start":
                extra = [(k.lower().encode(), v.encode()) for k, v in _SAFE.items()]
                event["headers"] = [*event["headers"], *extra]
            await send(event)

        if scope["type"] == "http" and not self._may_pass(scope):
            refusal = Json({"Error": "a bearer token is required"}, 401)
            refusal.headers["WWW-Authenticate"] = "Bearer"
            await refusal(scope, receive, send_safely)
            return
        await self._app(scope, receive, send_safely)

    def _may_pass(self, scope: Any) -> bool:  # noqa: ANN401
        if self._token is None or not scope["path"].startswith("/api"):
            return True
        given = dict(scope["headers"]).get(b"authorization", b"")
        return hmac.compare_digest(given, self._token)


async def _http_error(_request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 500)
    return Json({"Error": getattr(error, "detail", "error")}, status)


async def _bad_request(_request: Request, error: Exception) -> Response:
    return Json({"Error": str(error)}, 400)


async def _store_error(_request: Request, error: Exception) -> Response:
    if isinstance(error, DamagedError):
        return Json({"Error": "this message is damaged on disk"}, 500)
    return Json({"Error": "the store cannot be read now"}, 503)


async def _unexpected(_request: Request, _error: Exception) -> Response:
    return Json({"Error": "internal error"}, 500)


ERRORS = {
    HTTPException: _http_error,
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
