"""The paths of HTTP.

Owns: routing.
Promises: unknown paths are 404 and wrong methods 405, as JSON.
Refuses: answering (see `health` and `api`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.routing import Mount, Route

from prixfixe.http.answers import ERRORS, Headers
from prixfixe.http.api import Api
from prixfixe.http.health import Health

if TYPE_CHECKING:
    from prixfixe.http.mailbox import Mailbox
    from prixfixe.http.server import HttpContext

__all__ = ["build_app"]


def build_app(context: HttpContext, mailbox: Mailbox) -> Starlette:
    """Return the application."""
    health, api = Health(context, mailbox), Api(context, mailbox)
    guarded = Mount(
        "/api/v1",
        routes=[
            Route("/messages", api.messages, methods=["GET"]),
            Route("/messages", api.delete, methods=["DELETE"]),
            Route("/messages", api.set_read, methods=["PUT"]),
            Route("/tags", api.tags, methods=["GET"]),
            Route("/tags", api.set_tags, methods=["PUT"]),
            Route("/tags/{tag}", api.rename_tag, methods=["PUT"]),
            Route("/tags/{tag}", api.delete_tag, methods=["DELETE"]),
            Route("/search", api.search, methods=["GET"]),
            Route("/search", api.delete_found, methods=["DELETE"]),
            Route("/wait", api.wait),
            Route("/info", api.info),
            Route("/message/{id}", api.message),
            Route("/message/{id}/raw", api.raw),
            Route("/message/{id}/headers", api.headers),
            Route("/message/{id}/envelope", api.envelope),
            Route("/message/{id}/part/{part}", api.part),
        ],
    )
    app = Starlette(
        routes=[
            Route("/livez", health.live),
            Route("/readyz", health.ready),
            Route("/healthz", health.ready),
            Route("/metrics", health.metrics),
            guarded,
        ],
        exception_handlers=ERRORS,
    )
    app.router.redirect_slashes = False
    app.add_middleware(Headers, token=context.token)
    return app
