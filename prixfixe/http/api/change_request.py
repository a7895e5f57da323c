"""What a PUT asks for: read state and tags, as Mailpit's clients write it.

A body is read to its bound; one that is not understood changes nothing.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from starlette.exceptions import HTTPException

from prixfixe.http.api.delete_request import are_names, body_of

if TYPE_CHECKING:
    from starlette.requests import Request

__all__ = ["ReadChange", "read_change", "tag_change", "tag_name"]

MAX_TAGS = 100
MAX_TAG_CHARACTERS = 100


class ReadChange(NamedTuple):
    """Of which messages (None for all), by their ids or by a search, and what state."""

    is_read: bool
    ids: list[str] | None
    search: str | None


async def read_change(request: Request) -> ReadChange:
    """Return what is asked; or answer 400."""
    fields = await _fields(request, "read", "ids", "search")
    is_read, ids, search = (fields.get(name) for name in ("read", "ids", "search"))
    is_understood = (
        isinstance(is_read, bool | None)
        and (ids is None or are_names(ids))
        and isinstance(search, str | None)
        and not (ids and search)
    )
    if not is_understood:
        raise HTTPException(400, 'expected {"Read": true, "IDs": ["ID", ...]} or "Search"')
    return ReadChange(bool(is_read), ids or None, search or None)


async def tag_change(request: Request) -> tuple[list[str], list[str]]:
    """Return ids, and the tags they get; or answer 400."""
    fields = await _fields(request, "ids", "tags")
    ids, tags = fields.get("ids"), fields.get("tags", [])
    if not ids or not are_names(ids) or not are_names(tags) or len(tags) > MAX_TAGS:
        raise HTTPException(400, 'expected {"IDs": ["ID", ...], "Tags": ["tag", ...]}')
    return ids, [_tag(tag) for tag in tags]


async def tag_name(request: Request) -> str:
    """Return the new name of a tag; or answer 400."""
    name = (await _fields(request, "name")).get("name")
    if not isinstance(name, str):
        raise HTTPException(400, 'expected {"Name": "tag"}')
    return _tag(name)


def _tag(tag: str) -> str:
    """Return a tag with its blanks in order."""
    words = " ".join(tag.split())
    if not words or len(words) > MAX_TAG_CHARACTERS or not words.isprintable():
        raise HTTPException(400, f"expected tags of 1 to {MAX_TAG_CHARACTERS} printable characters")
    return words


async def _fields(request: Request, *names: str) -> dict[str, Any]:
    """Return a JSON object by names in lower case, as Go reads it."""
    try:
        found = json.loads(await body_of(request) or b"{}")
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise HTTPException(400, "expected a JSON object")
    fields = {name.lower(): value for name, value in found.items()}
    unknown = sorted(set(fields) - set(names))
    if unknown or len(fields) != len(found):
        raise HTTPException(400, f"expected an object with {', '.join(names)}, each once")
    return fields
