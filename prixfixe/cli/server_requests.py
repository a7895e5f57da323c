"""`prixfixe await` and `prixfixe delete`: ask a running server over HTTP."""

from __future__ import annotations

import http.client
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from prixfixe.cli.check import targets
from prixfixe.cli.environment import Failure, printable, settings

if TYPE_CHECKING:
    import argparse

__all__ = ["await_mail", "delete"]

_SPARE_SECONDS = 30.0  # in addition to the time that the server itself waits
_ANSWER_SECONDS = 120.0
_MOST_BYTES = 64 << 20


def await_mail(args: argparse.Namespace) -> int:
    """Wait until enough messages match the query, and list them."""
    asked = {"query": args.query, "timeout": f"{args.timeout:g}", "count": args.count}
    answer = _asked(args, "GET", f"/wait?{urlencode(asked)}", args.timeout + _SPARE_SECONDS)
    for entry in json.loads(answer)["messages"]:
        words = (entry["ID"], entry["Created"], entry["From"]["Address"], entry["Subject"])
        print("  ".join(map(printable, words)).rstrip())
    return 0


def delete(args: argparse.Namespace) -> int:
    """Delete every message that matches the query."""
    _asked(args, "DELETE", f"/search?{urlencode({'query': args.query})}", _ANSWER_SECONDS)
    return 0


def _asked(args: argparse.Namespace, method: str, path: str, seconds: float) -> bytes:
    """Return the body of a 200; fail with 2 for an invalid query, else with 1."""
    where = args.http or targets(args).http
    if where is None:
        raise Failure(2, "the settings close HTTP; say with --http where a server answers")
    host, port = where
    connection = http.client.HTTPConnection(host, port, timeout=seconds)
    try:
        connection.request(method, "/api/v1" + path, headers=_headers())
        answer = connection.getresponse()
        body = answer.read(_MOST_BYTES)
    except (OSError, http.client.HTTPException) as error:
        msg = f"no answer from http://{host}:{port}: {error or type(error).__name__}"
        raise Failure(1, msg) from None
    finally:
        connection.close()
    if answer.status != 200:
        raise Failure(2 if answer.status == 400 else 1, _reason(body, answer.status))
    return body


def _headers() -> dict[str, str]:
    token = settings().http_token
    return {} if token is None else {"Authorization": f"Bearer {token}"}


def _reason(body: bytes, status: int) -> str:
    try:
        told: Any = json.loads(body)["Error"]
    except (ValueError, KeyError, TypeError):
        told = f"HTTP status {status}"
    return printable(str(told))
