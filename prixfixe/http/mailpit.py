"""Mailpit's JSON shapes, so that its clients work unchanged.

Owns: the records of /api/v1 as `mailpit-api-client` and others read them.
Promises: names and types as Mailpit's; where it guesses a Bcc from the envelope, so do we; what a
list holds of a message is bounded, a single message is shown with all its addresses.
Refuses: parsing (see `mime`).
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from prixfixe.message import render
from prixfixe.mime import MAX_FIELD_CHARACTERS, Address
from prixfixe.query import SearchText

if TYPE_CHECKING:
    from prixfixe.message import Message
    from prixfixe.mime import Parsed, Part

__all__ = ["Entry", "Summary", "detail", "envelope", "listing", "searchable_body", "summarise"]

SNIPPET_CHARACTERS = 200
SNIPPET_OCTETS = 16 * SNIPPET_CHARACTERS  # of each text part; the rest of it is not split in words


_ADDRESSED = ("From", "To", "Cc", "Bcc", "Reply-To")


class _Bound(NamedTuple):
    """How much of each field of addresses is shown, in addresses and in characters."""

    contacts: int
    characters: int


LISTED = _Bound(200, 4096)  # an entry must not weigh what its sender likes
SHOWN = _Bound(MAX_FIELD_CHARACTERS, MAX_FIELD_CHARACTERS)


class Entry(NamedTuple):
    """A message in a list; `record` is JSON, a tenth of the memory of what it encodes."""

    id: str
    record: bytes


class Summary(NamedTuple):
    """A message in a list, and what searches look at."""

    entry: Entry
    search: SearchText


def _contact(address: Address) -> dict[str, str]:
    return {"Name": address.name, "Address": address.address}


def _contacts(message: Message, parsed: Parsed, bound: _Bound) -> dict[str, Any]:
    most, characters = bound
    named = {field: parsed.addresses(field, characters)[:most] for field in _ADDRESSED}
    sender = named["From"][:1] or [Address("", message.envelope.sender)]
    bcc = (named["Bcc"] + _hidden(message, parsed, named, bound))[:most]
    return {
        "From": _contact(sender[0]),
        "To": [_contact(one) for one in named["To"]],
        "Cc": [_contact(one) for one in named["Cc"]],
        "Bcc": [_contact(one) for one in bcc],
        "ReplyTo": [_contact(one) for one in named["Reply-To"]],
    }


def _hidden(
    message: Message, parsed: Parsed, named: dict[str, list[Address]], bound: _Bound
) -> list[Address]:
    """Return the envelope recipients that no field names."""
    fields = [(named[field], ", ".join(parsed.values(field))) for field in ("To", "Cc", "Bcc")]
    known = {one.address.lower() for found, _ in fields for one in found}
    cut = "\n".join(  # Fields that were not read to their end may name the others.
        text.lower()
        for found, text in fields
        if len(text) > bound.characters or len(found) >= bound.contacts
    )
    recipients = [one.address for one in message.envelope.recipients]
    return [
        Address("", one)
        for one in recipients
        if one.lower() not in known and one.lower() not in cut
    ]


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def _date(message: Message, parsed: Parsed) -> str:
    """Return the Date field, or the time of arrival where it is missing or wrong."""
    try:
        written = parsedate_to_datetime(str(parsed.root.get("Date", "")))
        if written.tzinfo is None:  # "-0000": the zone is not known (RFC 5322 3.3).
            written = written.replace(tzinfo=UTC)
        return written.isoformat().replace("+00:00", "Z")
    except (ValueError, TypeError, OverflowError):
        return _time(message.received_at)


def _message_id(parsed: Parsed, bound: _Bound) -> str:
    return parsed.header("Message-ID", bound.characters).strip("<>")


def summarise(message: Message, parsed: Parsed) -> Summary:
    """Return a message's entry in a list."""
    text = " ".join(parsed.body("text/plain", SNIPPET_OCTETS).split())
    attached = [part for part in parsed.parts if _is_attachment(part)]
    record = {
        "ID": message.id,
        "MessageID": _message_id(parsed, LISTED),
        "Read": False,
        **_contacts(message, parsed, LISTED),
        "Subject": parsed.header("Subject", LISTED.characters),
        "Created": _time(message.received_at),
        "Username": message.envelope.user or "",
        "Tags": [],
        "Size": len(message.body),
        "Attachments": len(attached),
        "Snippet": text[:SNIPPET_CHARACTERS],
    }
    return Summary(Entry(message.id, _encoded(record)), _search(message, record))


def _encoded(record: dict[str, Any]) -> bytes:
    return json.dumps(record, separators=(",", ":")).encode("ascii")


def _search(message: Message, record: dict[str, Any]) -> SearchText:
    def joined(contacts: list[dict[str, str]], *more: str) -> str:
        texts = [f"{one['Name']} {one['Address']}" for one in contacts]
        return "\n".join([*texts, *more]).lower()

    recipients = [recipient.address for recipient in message.envelope.recipients]
    return SearchText(
        joined(record["To"], *recipients),
        joined([record["From"]], message.envelope.sender),
        joined(record["Cc"]),
        joined(record["Bcc"]),
        str(record["Subject"]).lower(),
        str(record["MessageID"]).lower(),
    )


def searchable_body(parsed: Parsed) -> str:
    """Return what bare words are looked for in."""
    return f"{parsed.body('text/plain')}\n{parsed.body('text/html')}".lower()


def _is_attachment(part: Part) -> bool:
    return not part.is_text and not _is_inline(part)


def _is_inline(part: Part) -> bool:
    is_related = bool(part.content_id) and part.disposition != "attachment"
    return not part.is_text and (part.disposition == "inline" or is_related)


def _part(part: Part) -> dict[str, Any]:
    return {
        "PartID": part.number,
        "FileName": part.file_name,
        "ContentType": part.content_type,
        "ContentID": part.content_id,
        "Size": len(part.content),
    }


def detail(message: Message, parsed: Parsed) -> dict[str, Any]:
    """Return one message taken apart."""
    return {
        "ID": message.id,
        "MessageID": _message_id(parsed, SHOWN),
        "Read": False,
        **_contacts(message, parsed, SHOWN),
        "ReturnPath": message.envelope.sender,
        "Subject": parsed.header("Subject"),
        "ListUnsubscribe": {"Header": "", "Links": [], "Errors": "", "HeaderPost": ""},
        "Date": _date(message, parsed),
        "Tags": [],
        "Username": message.envelope.user or "",
        "Text": parsed.body("text/plain"),
        "HTML": parsed.body("text/html"),
        "Size": len(message.body),
        "Inline": [_part(part) for part in parsed.parts if _is_inline(part)],
        "Attachments": [_part(part) for part in parsed.parts if _is_attachment(part)],
    }


def listing(found: list[Entry], total: int, count: int, start: int) -> bytes:
    """Return a page of messages; `total` is of the store, `count` of what was asked for."""
    page = {
        "total": total,
        "unread": total,
        "count": len(found),
        "messages_count": count,
        "messages_unread": count,
        "start": start,
        "tags": [],
        "messages": [],
    }
    head = _encoded(page).removesuffix(b"]}")
    return b"".join((head, b",".join(entry.record for entry in found), b"]}\n"))


def envelope(message: Message) -> dict[str, Any]:
    """Return what the SMTP session said, exactly; sizes are of the body and of the raw file."""
    said = message.envelope
    return {
        "ID": message.id,
        "Received": _time(message.received_at),
        "From": said.sender,
        "FromParams": dict(said.sender_params),
        "To": [{"Address": one.address, "Params": dict(one.params)} for one in said.recipients],
        "Peer": said.peer,
        "Helo": said.helo,
        "Protocol": said.protocol,
        "TLS": said.tls,
        "User": said.user,
        "Size": len(message.body),
        "RawSize": len(render(message)),
    }
