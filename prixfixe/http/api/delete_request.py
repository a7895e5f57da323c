"""The ids that the body of a DELETE request names.

A body that is not understood deletes nothing.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from starlette.exceptions import HTTPException

if TYPE_CHECKING:
    from starlette.requests import Request

    from prixfixe.http.bodies import Bodies

__all__ = ["are_names", "body_of", "named_ids"]


async def named_ids(request: Request) -> list[str] | None:
    """Return the ids a DELETE names; None for all messages; or answer 400 or 413."""
    return _ids(await body_of(request), request)


async def body_of(request: Request) -> bytes:
    """Return the body, or answer 413 or 503."""
    bodies: Bodies = request.state.bodies
    return await bodies.read(request)


def _ids(body: bytes, request: Request) -> list[str] | None:
    """Return the ids a DELETE names, as JSON or as a form; None for all of them.

    Only no body, `{}` or an empty list means all: a misspelled request must not delete more.
    """
    if not body.strip() and not request.query_params:
        return None
    try:
        fields = {"": None} if request.query_params else _fields_of(body, request)
    except (ValueError, RecursionError):
        fields = {"": None}
    ids = fields.pop("ids", []) if isinstance(fields, dict) else None
    if fields or not are_names(ids):
        raise HTTPException(400, 'expected {"IDs": ["ID", ...]}')
    return ids or None


def _fields_of(body: bytes, request: Request) -> Any:  # noqa: ANN401 - whatever JSON can hold
    kind = request.headers.get("content-type", "").lower()
    is_form = kind.startswith("application/x-www-form-urlencoded")
    if not is_form or body.lstrip().startswith(b"{"):  # `curl --data` calls anything a form
        return json.loads(body, object_pairs_hook=_fields)
    form = parse_qs(body.decode(), keep_blank_values=True, strict_parsing=True)
    return _fields(list(form.items()))


def _fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object with names in lower case, as Go's JSON; duplicate keys are rejected."""
    fields = {name.lower(): value for name, value in pairs}
    if len(fields) != len(pairs):
        raise ValueError("a name is written twice")
    return fields


def are_names(value: object) -> bool:
    """Whether a value of JSON is a list of strings, none of them blank."""
    return isinstance(value, list) and all(isinstance(one, str) and one.strip() for one in value)
