"""Mailpit's JSON records, so that its clients work unchanged.

Names and types are Mailpit's, and a Bcc is derived from the envelope as Mailpit does.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from prixfixe.mail.html_text import read_html
from prixfixe.mail.message import render
from prixfixe.mail.mime import parse_message
from prixfixe.mail.query import FIELDS, Searchable
from prixfixe.mail.summary import (
    contacts,
    message_date,
    message_id,
    search_text,
    summarise,
    tags,
)
from prixfixe.mail.unsubscribe import read_unsubscribe
from prixfixe.stores.index import Described

if TYPE_CHECKING:
    from prixfixe.mail.message import Message
    from prixfixe.mail.mime import Address, Parsed, Part
    from prixfixe.mail.summary import Contacts, SearchText, Summary
    from prixfixe.stores.index import Found

__all__ = [
    "RECORD_VERSION",
    "Entry",
    "Listing",
    "described",
    "detail",
    "envelope",
    "listing",
    "shown",
    "shown_text",
    "shown_time",
    "summary_record",
    "taken_apart",
]

RECORD_VERSION = "1"  # of what `described` makes: an index of another one is built again
_BETWEEN_TEXTS = "\n--\n"  # as Mailpit joins them


class Entry(NamedTuple):
    """A message in a list; `record` is JSON, a tenth of the memory of what it encodes."""

    id: str
    record: bytes


def _contact(address: Address) -> dict[str, str]:
    return {"Name": address.name, "Address": address.address}


def _contacts(people: Contacts) -> dict[str, Any]:
    return {
        "From": _contact(people.sender),
        "To": [_contact(one) for one in people.to],
        "Cc": [_contact(one) for one in people.cc],
        "Bcc": [_contact(one) for one in people.bcc],
        "ReplyTo": [_contact(one) for one in people.reply_to],
    }


def shown_time(seconds: float) -> str:
    """Return seconds since the epoch as RFC 3339, in UTC and with milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def summary_record(summary: Summary) -> dict[str, Any]:
    """Return a message's entry in a list, as it came: see `shown`."""
    return {
        "ID": summary.id,
        "MessageID": summary.message_id,
        "Read": False,
        **_contacts(summary.contacts),
        "Subject": summary.subject,
        "Created": shown_time(summary.created),
        "Username": summary.username,
        "Tags": list(summary.tags),
        "Size": summary.size,
        "Attachments": summary.attachments,
        "Snippet": summary.snippet,
    }


def described(message: Message) -> Described:
    """Return what the index keeps of a message; in its thread."""
    return taken_apart(message, parse_message(message.body))


def taken_apart(message: Message, parsed: Parsed, *, with_body: bool = True) -> Described:
    """Return an entry in a list and what queries look at.

    Attached and inline files have their names there with the body alone.
    """
    people = contacts(message, parsed)
    summary = summarise(message, parsed, people)
    text = search_text(message, parsed, people, with_body=with_body)
    return Described(_encoded(summary_record(summary)), _searchable(text, summary))


def _searchable(text: SearchText, summary: Summary) -> Searchable:
    return Searchable(
        *(text.to, text.sender, text.cc, text.bcc),
        *(text.reply_to, text.subject, text.message_id),
        text=f"{text.files}\n{text.text}",
        cut=tuple({name if name in FIELDS else "text" for name in text.cut}),
        received_at=summary.created,
        size=summary.size,
        attachments=summary.attachments,
        inline=summary.inline,
        tags=summary.tags,
    )


def _encoded(record: Any) -> bytes:  # noqa: ANN401 - whatever JSON can hold
    return json.dumps(record, separators=(",", ":")).encode("ascii")


def _part(part: Part) -> dict[str, Any]:
    sums = [hashlib.new(name, usedforsecurity=False) for name in ("md5", "sha1", "sha256")]
    size = 0
    for piece in part.pieces():
        size += len(piece)
        for one in sums:
            one.update(piece)
    return {
        "PartID": part.number,
        "FileName": part.name,
        "ContentType": part.content_type,
        "ContentID": part.content_id,
        "Size": size,
        "Checksums": {one.name.upper(): one.hexdigest() for one in sums},
    }


def shown_text(parsed: Parsed) -> str:
    """Return the text of a message as a reader sees it."""
    return _texts(parsed)[0]


def _texts(parsed: Parsed) -> tuple[str, str]:
    """Return the text and the HTML that are shown; HTML alone has a text too."""
    text = _BETWEEN_TEXTS.join(part.text() for part in parsed.plain_texts())
    shown = parsed.html()
    html = "" if shown is None else shown.text()
    return text or read_html(html, with_links=True).text, html


def detail(message: Message, parsed: Parsed) -> dict[str, Any]:
    """Return one message taken apart, for whoever reads it now; its tags are those it came with."""
    text, html = _texts(parsed)
    listed = [(part.is_attachment, _part(part)) for part in parsed.parts if part.is_listed]
    return {
        "ID": message.id,
        "MessageID": message_id(parsed),
        "Read": True,
        **_contacts(contacts(message, parsed)),
        "ReturnPath": message.envelope.sender,
        "Subject": parsed.header.text("Subject"),
        "ListUnsubscribe": read_unsubscribe(parsed.header)._asdict(),
        "Date": message_date(message, parsed).isoformat().replace("+00:00", "Z"),
        "Tags": list(tags(parsed)),
        "Username": message.envelope.user or "",
        "Text": text,
        "HTML": html,
        "Size": len(message.body),
        "Inline": [record for is_attachment, record in listed if not is_attachment],
        "Attachments": [record for is_attachment, record in listed if is_attachment],
    }


class Listing(NamedTuple):
    """A page of messages. `total` and `unread` are of the store, `matched` of what was asked for.

    `left_out` is how many messages were not looked at, since the index is not there yet.
    """

    entries: list[Entry]
    total: int
    unread: int
    matched: int
    matched_unread: int
    tags: tuple[str, ...] = ()
    left_out: int = 0


def shown(found: Found) -> Entry:
    """Return an entry of the index with the read state and the tags it has now."""
    record = found.record
    # No quote stands bare within a string, so the first of each is the field itself.
    if found.is_read:
        record = record.replace(b'"Read":false', b'"Read":true', 1)
    before, _, rest = record.partition(b',"Tags":')
    tags = _encoded(found.tags)
    return Entry(found.id, b"".join((before, b',"Tags":', tags, rest[rest.index(b',"Size":') :])))


def listing(page: Listing, start: int) -> bytes:
    """Return a page of messages as JSON."""
    fields = {
        "total": page.total,
        "unread": page.unread,
        "count": len(page.entries),
        "messages_count": page.matched,
        "messages_unread": page.matched_unread,
        "start": start,
        "tags": page.tags,
        **({"NotIndexed": page.left_out} if page.left_out else {}),
        "messages": [],
    }
    head = _encoded(fields).removesuffix(b"]}")
    return b"".join((head, b",".join(one.record for one in page.entries), b"]}\n"))


def envelope(message: Message) -> dict[str, Any]:
    """Return what the SMTP session said, exactly; sizes are of the body and of the raw file."""
    said = message.envelope
    return {
        "ID": message.id,
        "Received": shown_time(message.received_at),
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
