"""HTTP in the server's own event loop: health, metrics, and the read API.

Owns: the paths of `docs/api.md`.
Promises: a stuck loop answers nobody, so liveness is true; mail content is never rendered or
fetched; parsing and reading happen off the loop; every body and header is bounded.
Refuses: writing mail; the only change a client can make is to delete.
"""

from prixfixe.http.server import HttpContext, HttpServer
from prixfixe.http.uvicorn_connection import MAX_CONNECTIONS

__all__ = ["MAX_CONNECTIONS", "HttpContext", "HttpServer"]
