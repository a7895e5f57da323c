"""Who may ask: the bearer token, and what stands for it where a browser sends no header.

A cookie lets the page's frames load mail. A ticket lets one answer refer to what is elsewhere. Both
are signed with the token, so that every server of one store takes them.
"""

from __future__ import annotations

import hmac
import secrets
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Access"]

COOKIE_SECONDS = 12 * 3600
TICKET_SECONDS = 60
_VIEWS = ("/view/", "//view/")


class Access:
    """The token, if one is set, and what is signed with it."""

    def __init__(self, token: str | None, clock: Callable[[], float] = time.time) -> None:
        self._token = None if token is None else token.encode()
        self._key = self._token or secrets.token_bytes(32)
        self._clock = clock
        # A browser keeps cookies by host, not by port: two servers must not take each other's.
        self._cookie = f"prixfixe-view-{self._mac('name')[:8]}"

    def may_pass(self, scope: Any) -> bool:  # noqa: ANN401 - ASGI's
        """Whether the request has the token, or the cookie where that is enough."""
        return self._token is None or self._has_token(scope) or self._has_cookie(scope)

    def cookie(self) -> str | None:
        """Return a `Set-Cookie` that lets frames load mail; None where nothing is needed."""
        if self._token is None:
            return None
        value = self._signed("view", COOKIE_SECONDS)
        limits = f"Path=/view; HttpOnly; SameSite=Strict; Max-Age={COOKIE_SECONDS}"
        return f"{self._cookie}={value}; {limits}"

    def ticket(self, message_id: str) -> str:
        """Return what a reader's choice to load remote content is shown by, for one message."""
        return self._signed(f"remote {message_id}", TICKET_SECONDS)

    def takes(self, ticket: str, message_id: str) -> bool:
        """Whether a ticket is for this message, and still holds."""
        return self._is_signed(ticket, f"remote {message_id}")

    def _has_token(self, scope: Any) -> bool:  # noqa: ANN401 - ASGI's
        """Whether the request has the token once (RFC 9110 11.4: the scheme has no case)."""
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        scheme, _, token = given[0].partition(b" ") if len(given) == 1 else (b"", b"", b"")
        is_same = hmac.compare_digest(token.strip(b" "), self._token or b"")
        return is_same and scheme.lower() == b"bearer"

    def _has_cookie(self, scope: Any) -> bool:  # noqa: ANN401 - ASGI's
        if scope["method"] not in ("GET", "HEAD") or not scope["path"].startswith(_VIEWS):
            return False
        given = (value for name, value in scope["headers"] if name == b"cookie")
        pairs = (one.strip().partition("=") for all_ in given for one in _text(all_).split(";"))
        return any(
            name == self._cookie and self._is_signed(value, "view") for name, _, value in pairs
        )

    # --- signatures

    def _mac(self, text: str) -> str:
        return hmac.digest(self._key, f"prixfixe {text}".encode(), "sha256").hex()

    def _signed(self, purpose: str, seconds: float) -> str:
        until = f"{int(self._clock() + seconds):x}"
        return f"{until}.{self._mac(f'{until} {purpose}')}"

    def _is_signed(self, value: str, purpose: str) -> bool:
        until, _, mac = value.partition(".")
        is_same = hmac.compare_digest(mac.encode(), self._mac(f"{until} {purpose}").encode())
        return is_same and int(until, 16) > self._clock()


def _text(octets: bytes) -> str:
    return octets.decode("latin-1")
