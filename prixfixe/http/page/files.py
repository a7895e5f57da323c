"""The files of the page, and what a browser may do with them.

Nothing is looked up by a path that somebody sends: each file has a route of its own.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING
from urllib.parse import quote

from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

__all__ = ["FILES", "PAGE_POLICY", "page_routes"]

# No script and no style but these files, no text that becomes markup, nobody's frame.
_RULES = (
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data:",
    "connect-src 'self'",
    "frame-src 'self'",
    "form-action 'none'",
    "base-uri 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
)
PAGE_POLICY = "; ".join(_RULES)
_TYPES = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "svg": "image/svg+xml",
}
_VIEW = re.compile(r"/view/(?P<id>[^/.]+)\Z")
_HEADERS = {
    "Content-Security-Policy": PAGE_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
# By path; `/view/ID` is the link to one message that Mailpit's clients print.
FILES = {
    "/": "index.html",
    **{f"/web/{name}": name for name in ("look.css", "inbox.css", "icon.svg")},
    **{
        f"/web/{name}.js": f"{name}.js"
        for name in ("app", "api", "dom", "list", "message", "live", "state", "text")
    },
}


def page_routes() -> list[Route]:
    """Return the routes that need no token: they say nothing of any mail."""
    named = [Route(path, _answer_of(name), methods=["GET"]) for path, name in FILES.items()]
    to_message = Route("/view/{id}", _to_message, methods=["GET"])
    to_message.path_regex = _VIEW  # what has an ending is mail, and not for everybody
    return [*named, to_message]


def _answer_of(name: str) -> Callable[[Request], Awaitable[Response]]:
    async def answer(_request: Request) -> Response:
        return Response(
            _content(name), headers={**_HEADERS, "Content-Type": _TYPES[name.rpartition(".")[2]]}
        )

    return answer


@cache
def _content(name: str) -> bytes:
    return (files("prixfixe.http") / "web" / name).read_bytes()


async def _to_message(request: Request) -> Response:
    """Send the reader to the page, which shows the message."""
    return RedirectResponse(f"/#id={quote(request.path_params['id'], safe='')}", 302)
