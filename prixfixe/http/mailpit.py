"""Mailpit's JSON shapes, so that its clients work unchanged.

Owns: the records of /api/v1 as `mailpit-api-client` and others read them.
Promises: names and types as Mailpit's; where it guesses a Bcc from the envelope, so do we.
Refuses: parsing (see `mime`).
"""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from prixfixe.message import render
from prixfixe.mime import Address
from prixfixe.query import SearchText

if TYPE_CHECKING:
    from prixfixe.message import Message
    from prixfixe.mime import Parsed, Part

__all__ = ["Summary", "detail", "envelope", "listing", "searchable_body", "summarise"]

SNIPPET_CHARACTERS = 200
SNIPPET_OCTETS = 16 * SNIPPET_CHARACTERS  # of each text part; the rest of it is not split in words


class Summary(NamedTuple):
    """A message in a list, and what searches look at."""

    record: dict[str, Any]
    search: SearchText


def _contact(address: Address) -> dict[str, str]:
    return {"Name": address.name, "Address": address.address}


def _sender(message: Message, parsed: Parsed) -> Address:
    found = parsed.addresses("From")
    return found[0] if found else Address("", message.envelope.sender)


def _bcc(message: Message, parsed: Parsed) -> list[Address]:
    """Return written Bcc fields and the envelope recipients that no field names."""
    named = [one for field in ("To", "Cc", "Bcc") for one in parsed.addresses(field)]
    known = {one.address.lower() for one in named}
    hidden = [
        Address("", recipient.address)
        for recipient in message.envelope.recipients
        if recipient.address.lower() not in known
    ]
    return parsed.addresses("Bcc") + hidden


def _contacts(message: Message, parsed: Parsed) -> dict[str, Any]:
    return {
        "From": _contact(_sender(message, parsed)),
        "To": [_contact(one) for one in parsed.addresses("To")],
        "Cc": [_contact(one) for one in parsed.addresses("Cc")],
        "Bcc": [_contact(one) for one in _bcc(message, parsed)],
        "ReplyTo": [_contact(one) for one in parsed.addresses("Reply-To")],
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


def _message_id(parsed: Parsed) -> str:
    return parsed.header("Message-ID").strip("<>")


def summarise(message: Message, parsed: Parsed) -> Summary:
    """Return a message's entry in a list."""
    contacts = _contacts(message, parsed)
    text = " ".join(parsed.body("text/plain", SNIPPET_OCTETS).split())
    attached = [part for part in parsed.parts if _is_attachment(part)]
    record = {
        "ID": message.id,
        "MessageID": _message_id(parsed),
        "Read": False,
        **contacts,
        "Subject": parsed.header("Subject"),
        "Created": _time(message.received_at),
        "Username": message.envelope.user or "",
        "Tags": [],
        "Size": len(message.body),
        "Attachments": len(attached),
        "Snippet": text[:SNIPPET_CHARACTERS],
    }
    return Summary(record, _search(message, record))


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
        "MessageID": _message_id(parsed),
        "Read": True,
        **_contacts(message, parsed),
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


def listing(found: list[Summary], total: int, count: int, start: int) -> dict[str, Any]:
    """Return a page of messages; `total` is of the store, `count` of what was asked for."""
    return {
        "total": total,
        "unread": total,
        "count": len(found),
        "messages_count": count,
        "messages_unread": count,
        "start": start,
        "tags": [],
        "messages": [summary.record for summary in found],
    }


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
