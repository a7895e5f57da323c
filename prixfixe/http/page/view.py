"""`/view`: one message's HTML or text for a frame, and what lets a frame load it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from prixfixe.http.api import mailpit
from prixfixe.http.page.mail_html import MAX_SHOWN, view_policy, viewed_html
from prixfixe.http.pieces import cut
from prixfixe.http.responses import InPieces, Json, only
from prixfixe.mail.mime import parse_message

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from prixfixe.http.access import Access
    from prixfixe.http.api.routes import Api
    from prixfixe.mail.message import Message

__all__ = ["View"]

_HTML = "text/html; charset=utf-8"
_TEXT = "text/plain; charset=utf-8"


class View:
    """The paths under `/view`."""

    def __init__(self, api: Api, access: Access) -> None:
        self._api = api
        self._access = access

    def routes(self) -> list[Route]:
        """Return the routes; Mailpit's clients write two slashes if their address ends in one."""
        return [
            Route("/view/access", self.access, methods=["POST"]),
            Route("/view/{id}/remote", self.remote, methods=["POST"]),
            *(
                Route(f"{base}/{{id}}.{ending}", path, methods=["GET"])
                for base in ("/view", "//view")
                for ending, path in (("html", self.html), ("txt", self.text))
            ),
        ]

    async def access(self, request: Request) -> Response:
        """Give whoever has the token a cookie for frames."""
        only(request)
        cookie = self._access.cookie()
        return Response(status_code=204, headers={"Set-Cookie": cookie} if cookie else None)

    async def remote(self, request: Request) -> Response:
        """Give a ticket for one answer that may refer to what is elsewhere."""
        only(request)
        return Json({"Ticket": self._access.ticket(request.path_params["id"])})

    async def html(self, request: Request) -> Response:
        """Return the HTML in a sandbox of its own."""
        ticket = request.query_params.get("ticket")
        is_remote = ticket is not None
        if ticket is not None and not self._access.takes(ticket, request.path_params["id"]):
            raise HTTPException(403, "ticket: expected one that POST /view/ID/remote gave just now")

        def made(message: Message) -> bytes:
            html = viewed_html(parse_message(message.body), is_remote=is_remote)
            if html is None:
                raise HTTPException(404, "this message has no HTML")
            return html.encode("utf-8", "replace")

        answer = await self._lent(request, f"html {is_remote}", made, _HTML)
        answer.headers["Content-Security-Policy"] = view_policy(is_remote=is_remote)
        answer.headers["X-DNS-Prefetch-Control"] = "off"
        return answer

    async def text(self, request: Request) -> Response:
        """Return the text as a reader sees it."""

        def made(message: Message) -> bytes:
            text = mailpit.shown_text(parse_message(message.body))
            return text[:MAX_SHOWN].encode("utf-8", "replace")

        return await self._lent(request, "text", made, _TEXT)

    async def _lent(
        self, request: Request, kind: str, made: Callable[[Message], bytes], media_type: str
    ) -> InPieces:
        loan = await self._api.lent(request, f"view {kind}", made, len, also=("embed", "ticket"))
        return InPieces(cut([loan.value]), loan, media_type, len(loan.value))
