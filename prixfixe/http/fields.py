"""How much of a message's fields lists and searches look at.

Owns: the bounds, the addresses within them, and what a search is told of a message.
Promises: what a search is told is bounded, and it is told which fields may hold more, so that it
never says of one that a word is not in it.
Refuses: matching (see `query`) and showing (see `mailpit`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from prixfixe.mime import MAX_FIELD_CHARACTERS, Address
from prixfixe.query import FIELDS, Searchable, fold

if TYPE_CHECKING:
    from prixfixe.message import Message
    from prixfixe.mime import Parsed

__all__ = ["LISTED", "SHOWN", "Bound", "Fields", "look", "search_text", "searchable_body"]

_BETWEEN = re.compile(r"[\s,;<>]+")  # addresses, roughly
_ADDRESSED = ("From", "To", "Cc", "Bcc", "Reply-To")


class Bound(NamedTuple):
    """How much of each field is looked at, in addresses and in characters."""

    contacts: int
    characters: int


LISTED = Bound(200, 4096)  # an entry must not weigh what its sender likes
SHOWN = Bound(MAX_FIELD_CHARACTERS, MAX_FIELD_CHARACTERS)


class Fields(NamedTuple):
    """What is looked at of one message; `hidden` are recipients that no field names."""

    named: dict[str, list[Address]]
    hidden: list[Address]
    subject: str
    message_id: str


def look(message: Message, parsed: Parsed, bound: Bound) -> Fields:
    """Return the fields of a message within a bound."""
    most, characters = bound
    named = {field: parsed.addresses(field, characters)[:most] for field in _ADDRESSED}
    hidden = _hidden(message, parsed, named, bound)
    return Fields(
        named,
        hidden[: most - len(named["Bcc"])],
        parsed.header("Subject", characters),
        parsed.header("Message-ID", characters).strip("<>"),
    )


def _hidden(
    message: Message, parsed: Parsed, named: dict[str, list[Address]], bound: Bound
) -> list[Address]:
    """Return the envelope recipients that no field names."""
    fields = [(named[field], ", ".join(parsed.values(field))) for field in ("To", "Cc", "Bcc")]
    known = {one.address.lower() for found, _ in fields for one in found}
    for found, text in fields:  # One that was not read to its end may name the others.
        if len(text) > bound.characters or len(found) >= bound.contacts:
            known.update(_BETWEEN.split(text.lower()))
    recipients = [one.address for one in message.envelope.recipients]
    return [Address("", one) for one in recipients if one.lower() not in known]


def search_text(message: Message, parsed: Parsed, fields: Fields) -> Searchable:
    """Return what searches look at of a message's fields as listed; the body is not in it."""

    def joined(addresses: list[Address], *more: str) -> str:
        return fold("\n".join([*(f"{one.name} {one.address}" for one in addresses), *more]))

    named = fields.named
    return Searchable(
        reply_to=joined(named["Reply-To"]),
        to=joined(named["To"], *(one.address for one in message.envelope.recipients)),
        sender=joined(named["From"], message.envelope.sender),
        cc=joined(named["Cc"]),
        bcc=joined(named["Bcc"] + fields.hidden),
        subject=fold(fields.subject),
        message_id=fold(fields.message_id),
        cut=_cut(parsed, fields),
    )


def searchable_body(parsed: Parsed) -> str:
    """Return what bare words are looked for in."""
    return fold(f"{parsed.body('text/plain')}\n{parsed.body('text/html')}")


def _cut(parsed: Parsed, fields: Fields) -> tuple[str, ...]:
    """Return the fields that may hold more than a search looks at; `text` is the body."""
    cut = {
        field for field in FIELDS if parsed.is_header_cut or _is_cut(parsed, field, fields.named)
    }
    if len(fields.named["Bcc"]) + len(fields.hidden) >= LISTED.contacts:
        cut.add("bcc")
    if parsed.is_body_cut:
        cut.add("text")
    return tuple(cut)


def _is_cut(parsed: Parsed, field: str, named: dict[str, list[Address]]) -> bool:
    values = parsed.values(field)
    if sum(map(len, values)) > LISTED.characters:
        return True
    found = named.get(field.capitalize())
    if found is None:  # Of these the first is looked at.
        return len(values) > 1
    # The library passes over what it cannot read.
    read = sum(f"{one.name}{one.address}".count("@") for one in found)
    return len(found) >= LISTED.contacts or "".join(values).count("@") > read
