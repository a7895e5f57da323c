"""The MIME tree of a message as JSON: every part in its order, those that hold others too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prixfixe.mail.mime import parse_message

if TYPE_CHECKING:
    from prixfixe.mail.message import Message
    from prixfixe.mail.mime import Part

__all__ = ["tree"]


def tree(message: Message) -> dict[str, Any]:
    """Return the parts; sizes are in bytes, before the transfer encoding is taken away.

    The `PartID` of a multipart says which parts it holds: `2` holds `2.1` and `2.2`, "" all.
    """
    parsed = parse_message(message.body)
    leaves = {part.number: _leaf(part) for part in parsed.parts}
    holders = {
        number: {"PartID": number, "ContentType": kind} for number, kind in parsed.multiparts
    }
    found = {**leaves, **holders}
    return {"ID": message.id, "Parts": [found[number] for number in sorted(found, key=_place)]}


def _place(number: str) -> tuple[int, ...]:
    return tuple(map(int, filter(None, number.split("."))))


def _leaf(part: Part) -> dict[str, Any]:
    return {
        "PartID": part.number,
        "ContentType": part.content_type,
        "Disposition": part.disposition,
        "FileName": part.file_name,
        "ContentID": part.content_id,
        "Charset": part.charset,
        "Encoding": part.encoding,
        "Size": part.end - part.start,
    }
