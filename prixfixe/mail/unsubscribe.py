"""List-Unsubscribe (RFC 2369, RFC 8058): its links, and what is wrong with them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from prixfixe.mail.header import Header

__all__ = ["Unsubscribe", "read_unsubscribe"]

MAX_CHARACTERS = 8192  # of the field that are looked at
MAX_LINKS = 20
_COMMENT = re.compile(r"\([^()]*\)")
_LINK = re.compile(r"<([^<>]*)>")
_KINDS = {
    "mailto:": re.compile(r"mailto:[A-Za-z0-9]", re.IGNORECASE),
    "HTTP": re.compile(r"https?://[A-Za-z0-9\[]", re.IGNORECASE),
}


class Unsubscribe(NamedTuple):
    """What Mailpit's `ListUnsubscribe` holds."""

    Header: str
    Links: list[str]
    Errors: str
    HeaderPost: str


def read_unsubscribe(header: Header) -> Unsubscribe:
    """Return the links of a message's List-Unsubscribe, and why others are none."""
    written = header.text("List-Unsubscribe")
    if not written:
        return Unsubscribe("", [], "", "")
    links, errors = _links(_COMMENT.sub("", written[:MAX_CHARACTERS]).strip())
    return Unsubscribe(written, links, ", ".join(errors), header.text("List-Unsubscribe-Post"))


def _links(text: str) -> tuple[list[str], list[str]]:
    found = _LINK.findall(text)
    if not found:
        return [], [f'"{text}": no link in < and > was found']
    between = _LINK.sub("<>", text)
    errors = [] if _is_list(between) else [f'"{text}": expected links in < and >, with commas']
    links: list[str] = []
    kinds: set[str] = set()
    for link in found[:MAX_LINKS]:
        error = _error(link, kinds)
        if error:
            errors.append(f'"{link}": {error}')
        else:
            links.append(link)
    return links, errors


def _is_list(between: str) -> bool:
    return all(one.strip() == "<>" for one in between.split(","))


def _error(link: str, kinds: set[str]) -> str:
    """Return what is wrong with a link, and note its kind: each may come once."""
    if any(letter.isspace() for letter in link):
        return "expected no blank"
    kind = next((name for name, pattern in _KINDS.items() if pattern.match(link)), "")
    if not kind:
        return "expected http://, https:// or mailto:"
    if kind in kinds:
        return f"expected one {kind} link"
    kinds.add(kind)
    return ""
