"""The routes of HTTP.

Health and metrics are open; the guard checks every other path, known or not. The files of the page
need no token.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.routing import Route, Router

from prixfixe.http.access import Access
from prixfixe.http.api.attempts import AttemptPaths
from prixfixe.http.api.events import Events
from prixfixe.http.api.faults import FaultPaths
from prixfixe.http.api.feed import Feed
from prixfixe.http.api.made import MadeAnswers
from prixfixe.http.api.routes import Api
from prixfixe.http.api.send import SendPath
from prixfixe.http.api.sessions import SessionPaths
from prixfixe.http.api.waits import WaitPaths
from prixfixe.http.bodies import Bodies
from prixfixe.http.guard import Guard, Hosts, with_own_host
from prixfixe.http.health import Health
from prixfixe.http.page.files import page_routes
from prixfixe.http.page.view import View
from prixfixe.http.responses import ERRORS, Framing

if TYPE_CHECKING:
    from prixfixe.http.api.mailbox import Mailbox
    from prixfixe.http.context import HttpContext

__all__ = ["build_app"]


def build_app(context: HttpContext, mailbox: Mailbox) -> Framing:
    """Return the application."""
    health = Health(context, mailbox)
    app = Starlette(
        routes=[
            Route("/livez", health.live),
            Route("/readyz", health.ready),
            Route("/healthz", health.ready),
            Route("/metrics", health.metrics),
        ],
        exception_handlers=ERRORS,
    )
    app.router.redirect_slashes = False
    access = Access(context.token)
    open_app = Router(page_routes() if context.has_page else [], redirect_slashes=False)
    guarded = _guarded(context, mailbox, access)
    app.router.default = Guard(guarded, Hosts(context.hosts), access, open_app)

    bodies = Bodies()

    async def routed(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401 - ASGI's
        scope["state"]["bodies"] = bodies
        try:
            await app(with_own_host(scope), receive, send)
        finally:
            bodies.release(scope["state"]["connection"])

    return Framing(routed)


def _guarded(context: HttpContext, mailbox: Mailbox, access: Access) -> Router:
    feed, made = Feed(context.arrivals, mailbox), MadeAnswers()
    api = Api(context, mailbox, feed, made)
    message = "/api/v1/message/{id}"
    return Router(
        redirect_slashes=False,
        routes=[
            Route("/api/v1/messages", api.messages, methods=["GET"]),
            Route("/api/v1/messages", api.delete, methods=["DELETE"]),
            Route("/api/v1/messages", api.set_read, methods=["PUT"]),
            Route("/api/v1/tags", api.tags, methods=["GET"]),
            Route("/api/v1/tags", api.set_tags, methods=["PUT"]),
            Route("/api/v1/tags/{tag}", api.rename_tag, methods=["PUT"]),
            Route("/api/v1/tags/{tag}", api.delete_tag, methods=["DELETE"]),
            Route("/api/v1/search", api.search, methods=["GET"]),
            Route("/api/v1/search", api.delete_found, methods=["DELETE"]),
            Route("/api/v1/wait", api.wait),
            *_wait_routes(WaitPaths(context, mailbox, api, made)),
            Route("/api/v1/info", api.info),
            Route(message, api.message),
            Route(f"{message}/raw", api.raw),
            Route(f"{message}/headers", api.headers),
            Route(f"{message}/envelope", api.envelope),
            Route(f"{message}/part/{{part}}", api.part),
            Route("/api/v1/attempts", AttemptPaths(context, made).attempts),
            Route("/api/v1/sessions", SessionPaths(context.sessions, made).sessions),
            Route("/api/v1/send", SendPath(context).send, methods=["POST"]),
            Route("/api/v1/webui", api.webui),
            *_fault_routes(FaultPaths(context, made)),
            Route(f"{message}/tree", api.tree),
            Route("/api/v1/events", Events(feed, mailbox).events),
            *(View(api, access).routes() if context.has_page else ()),
        ],
    )


def _wait_routes(waits: WaitPaths) -> list[Route]:
    return [
        Route("/api/v1/wait/link", waits.link),
        Route("/api/v1/wait/code", waits.code),
        Route("/api/v1/wait/none", waits.none),
    ]


def _fault_routes(faults: FaultPaths) -> list[Route]:
    return [
        Route("/api/v1/faults", faults.faults, methods=["GET"]),
        Route("/api/v1/faults", faults.add, methods=["POST"]),
        Route("/api/v1/faults/{id}", faults.fault, methods=["GET"]),
        Route("/api/v1/faults/{id}", faults.remove, methods=["DELETE"]),
        Route("/api/v1/chaos", faults.chaos, methods=["GET"]),
        Route("/api/v1/chaos", faults.set_chaos, methods=["PUT"]),
    ]
