"""Checks of Host, token and origin for every request outside the open routes.

An absolute request target is checked by its own host (RFC 9112 3.2.2).
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote

from starlette.routing import Match

from prixfixe.http.responses import Json

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.responses import Response
    from starlette.routing import Router

    from prixfixe.http.access import Access

__all__ = ["Guard", "Hosts", "is_foreign", "with_own_host"]

# Nobody on the internet can have these answered by a server of his (RFC 6761, RFC 6762, RFC 8375
# and ICANN's `internal`), and single labels neither.
LOCAL_SUFFIXES = (".localhost", ".local", ".internal", ".test", ".svc")

_AUTHORITY = re.compile(r"(\[[0-9a-f:.]*\]|[^\[\]:@/\\]*)(?::([0-9]{0,5}))?")
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_ABSOLUTE = re.compile(rb"https?://([^/]*)(.*)", re.IGNORECASE | re.DOTALL)
_PORTS = {"http": "80", "https": "443"}


class Authority(NamedTuple):
    """A host in lower case without its last dot, and a port, "" where there is none."""

    host: str
    port: str


def _authority(text: str) -> Authority | None:
    found = _AUTHORITY.fullmatch(text.strip(" \t").lower())
    if found is None or not found[1].rstrip("."):
        return None
    return Authority(found[1].removesuffix("."), found[2] or "")


def _is_address(host: str) -> bool:
    try:
        if host.startswith("["):
            return bool(ipaddress.IPv6Address(host[1:-1]))
        return bool(ipaddress.IPv4Address(host))
    except ValueError:
        return False


class Hosts:
    """The hosts this server answers for."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(name.lower().removesuffix(".") for name in names)

    def has(self, text: str) -> bool:
        """Whether a Host field names one; names of the internet have to be listed."""
        authority = _authority(text)
        if authority is None:
            return False
        host = authority.host
        if host in self._names or _is_address(host):
            return True
        is_local = "." not in host or host.endswith(LOCAL_SUFFIXES)
        return is_local and _NAME.fullmatch(host) is not None


def with_own_host(scope: Any) -> Any:  # noqa: ANN401 - ASGI's
    """Return a request as if it had come with a relative target and its host in `Host`."""
    found = _ABSOLUTE.fullmatch(scope["raw_path"])
    if found is None:
        return scope
    raw = found[2] or b"/"
    headers = [(name, value) for name, value in scope["headers"] if name != b"host"]
    headers.append((b"host", found[1]))
    return {**scope, "path": unquote(raw.decode("ascii")), "raw_path": raw, "headers": headers}


def _values(scope: Any, name: bytes) -> list[str]:  # noqa: ANN401 - ASGI's
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]


def _is_own(origin: str, host: Authority | None) -> bool:
    scheme, _, rest = origin.lower().partition("://")
    own = _authority(rest)
    if host is None or own is None or scheme not in _PORTS or own.host != host.host:
        return False
    default = _PORTS[scheme]  # A proxy may have taken https off, so that the scheme is not known.
    return (own.port or default) == (host.port or default)


def is_foreign(scope: Any) -> bool:  # noqa: ANN401 - ASGI's
    """Whether a browser sends this for a page that is not of this server."""
    if any(value.strip().lower() == "cross-site" for value in _values(scope, b"sec-fetch-site")):
        return True
    host = _authority("".join(_values(scope, b"host")[:1]))
    return not all(_is_own(origin, host) for origin in _values(scope, b"origin"))


class Guard:
    """Stands before an application: whoever may not pass is answered here.

    `open_app` is what needs no token; a request that it does not know goes on to the token.
    """

    def __init__(self, app: Any, hosts: Hosts, access: Access, open_app: Router) -> None:  # noqa: ANN401
        self._app = app
        self._open = open_app
        self._hosts = hosts
        self._access = access

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401
        """Answer, or pass on."""
        await (self._refusal(scope) or self._app_for(scope))(scope, receive, send)

    def _app_for(self, scope: Any) -> Any:  # noqa: ANN401
        return self._open if self._is_open(scope) else self._app

    def _is_open(self, scope: Any) -> bool:  # noqa: ANN401
        return any(route.matches(scope)[0] is Match.FULL for route in self._open.routes)

    def _refusal(self, scope: Any) -> Response | None:  # noqa: ANN401
        named = _values(scope, b"host")
        if len(named) != 1 or not self._hosts.has(named[0]):
            return Json({"Error": "a Host that SMTP_HTTP_HOSTS does not list"}, 421)
        if not (self._is_open(scope) or self._access.may_pass(scope)):
            refusal = Json({"Error": "a bearer token is required"}, 401)
            refusal.headers["WWW-Authenticate"] = "Bearer"
            return refusal
        if scope["method"] not in ("GET", "HEAD", "OPTIONS") and is_foreign(scope):
            return Json({"Error": "not for a page of another origin"}, 403)
        return None
