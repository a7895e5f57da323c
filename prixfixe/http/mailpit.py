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

from prixfixe.http.fields import LISTED, SHOWN, look, search_text, searchable_body
from prixfixe.index import Described
from prixfixe.message import render
from prixfixe.mime import Address, parse_message

if TYPE_CHECKING:
    from prixfixe.http.fields import Fields
    from prixfixe.message import Message
    from prixfixe.mime import Parsed, Part
    from prixfixe.query import Searchable

__all__ = ["Entry", "Summary", "described", "detail", "envelope", "listing", "summarise"]

SNIPPET_CHARACTERS = 200
SNIPPET_OCTETS = 16 * SNIPPET_CHARACTERS  # of each text part; the rest of it is not split in words


class Entry(NamedTuple):
    """A message in a list; `record` is JSON, a tenth of the memory of what it encodes."""

    id: str
    record: bytes


class Summary(NamedTuple):
    """A message in a list, and what searches look at."""

    entry: Entry
    search: Searchable


def _contact(address: Address) -> dict[str, str]:
    return {"Name": address.name, "Address": address.address}


def _contacts(message: Message, fields: Fields) -> dict[str, Any]:
    named = fields.named
    sender = named["From"][:1] or [Address("", message.envelope.sender)]
    return {
        "From": _contact(sender[0]),
        "To": [_contact(one) for one in named["To"]],
        "Cc": [_contact(one) for one in named["Cc"]],
        "Bcc": [_contact(one) for one in (*named["Bcc"], *fields.hidden)],
        "ReplyTo": [_contact(one) for one in named["Reply-To"]],
    }


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


def summarise(message: Message, parsed: Parsed) -> Summary:
    """Return a message's entry in a list."""
    text = " ".join(parsed.body("text/plain", SNIPPET_OCTETS).split())
    attached = [part for part in parsed.parts if _is_attachment(part)]
    fields = look(message, parsed, LISTED)
    record = {
        "ID": message.id,
        "MessageID": fields.message_id,
        "Read": False,
        **_contacts(message, fields),
        "Subject": fields.subject,
        "Created": _time(message.received_at),
        "Username": message.envelope.user or "",
        "Tags": [],
        "Size": len(message.body),
        "Attachments": len(attached),
        "Snippet": text[:SNIPPET_CHARACTERS],
    }
    search = search_text(message, parsed, fields)
    return Summary(Entry(message.id, _encoded(record)), search)


def described(message: Message) -> Described:
    """Return what the index keeps of a message."""
    parsed = parse_message(message.body)
    summary = summarise(message, parsed)
    attached = [part for part in parsed.parts if _is_attachment(part)]
    inline = [part for part in parsed.parts if _is_inline(part)]
    return Described(
        summary.entry.record,
        summary.search._replace(
            text=searchable_body(parsed),
            received_at=message.received_at,
            size=len(message.body),
            attachments=len(attached),
            inline=len(inline),
        ),
    )


def _encoded(record: dict[str, Any]) -> bytes:
    return json.dumps(record, separators=(",", ":")).encode("ascii")


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
    fields = look(message, parsed, SHOWN)
    return {
        "ID": message.id,
        "MessageID": fields.message_id,
        "Read": False,
        **_contacts(message, fields),
        "ReturnPath": message.envelope.sender,
        "Subject": fields.subject,
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
