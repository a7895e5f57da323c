"""The summary of a message for lists, and its text for searches, from one parse.

Both are bounded. A search text names the fields that may contain more, so that a negated term does
not match wrongly.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, NamedTuple

from prixfixe.mail.folding import fold
from prixfixe.mail.html_text import read_html
from prixfixe.mail.mime import Address, Parsed, Part, parse_message

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prixfixe.mail.message import Message

__all__ = [
    "SEARCHED_FIELDS",
    "Contacts",
    "SearchText",
    "Summary",
    "contacts",
    "message_date",
    "search_text",
    "summarise",
    "tags",
]

MAX_LISTED_CONTACTS = 200  # of each field of a list's entry
MAX_LISTED_CHARACTERS = 4096  # of each name, of a field's contacts together, of a subject
SNIPPET_CHARACTERS = 200  # before the dots, as in Mailpit
_SNIPPET_SOURCES = (32 * 1024, 512 * 1024)  # characters of HTML that are looked at for it
MAX_TAGS = 100
MAX_TAG_CHARACTERS = 100
MAX_DATE_CHARACTERS = 200
_NO_TAG = re.compile(r"[^A-Za-z0-9 _.@-]+")
_BLANKS = re.compile(r"[\s\ufeff]+")

SEARCHED_FIELDS = (
    *("to", "from", "cc", "bcc", "reply-to", "subject", "message-id", "files", "text"),
)


class Contacts(NamedTuple):
    """The people of a message; `bcc` holds the envelope recipients that no field names too."""

    sender: Address
    to: tuple[Address, ...]
    cc: tuple[Address, ...]
    bcc: tuple[Address, ...]
    reply_to: tuple[Address, ...]


class Summary(NamedTuple):
    """What a list shows of a message; bounded.

    `created` is the time of arrival in seconds since the epoch, `size` the bytes of the body.
    """

    id: str
    message_id: str
    contacts: Contacts
    subject: str
    created: float
    size: int
    attachments: int
    inline: int
    snippet: str
    tags: tuple[str, ...]
    username: str


class SearchText(NamedTuple):
    """What a query looks at, in the form of `fold`; `cut` names fields that may hold more.

    `to` holds the field and all envelope recipients, `sender` the field and the envelope's sender,
    `bcc` the field and the recipients that no field names, `files` the names of attachments.
    """

    to: str
    sender: str
    cc: str
    bcc: str
    reply_to: str
    subject: str
    message_id: str
    files: str
    text: str
    cut: tuple[str, ...] = ()

    def field(self, name: str) -> str:
        """Return the text that a prefix names; "" names everything, "addressed" all addresses."""
        texts: tuple[str, ...] = self[:9]
        if name == "addressed":
            return "\n".join(texts[:5])
        return texts[SEARCHED_FIELDS.index(name)] if name else "\n".join(texts)

    def is_cut(self, name: str) -> bool:
        """Return whether there may be more of a field than is held here."""
        if name == "addressed":
            return any(self.is_cut(one) for one in SEARCHED_FIELDS[:5])
        return name in self.cut if name else bool(self.cut)


# --- what lists show


def summarise(
    message: Message, parsed: Parsed | None = None, people: Contacts | None = None
) -> Summary:
    """Return what a list shows of a message, which is taken apart unless it comes so."""
    parsed = parse_message(message.body) if parsed is None else parsed
    listed = [part for part in parsed.parts if part.is_listed]
    attachments = sum(part.is_attachment for part in listed)
    return Summary(
        message.id,
        message_id(parsed)[:MAX_LISTED_CHARACTERS],
        _shortened(people or contacts(message, parsed)),
        parsed.header.text("Subject")[:MAX_LISTED_CHARACTERS],
        message.received_at,
        len(message.body),
        attachments,
        len(listed) - attachments,
        snippet(parsed),
        tags(parsed),
        message.envelope.user or "",
    )


def contacts(message: Message, parsed: Parsed) -> Contacts:
    """Return all people of a message."""
    to, cc, bcc = (tuple(parsed.addresses(name)) for name in ("To", "Cc", "Bcc"))
    named = {one.address.lower() for one in (*to, *cc, *bcc)}
    recipients = (one.address for one in message.envelope.recipients)
    hidden = [Address("", one) for one in recipients if one.lower() not in named]
    sender = next(parsed.addresses("From"), Address("", message.envelope.sender))
    return Contacts(sender, to, cc, (*bcc, *hidden), tuple(parsed.addresses("Reply-To")))


def message_id(parsed: Parsed) -> str:
    """Return the Message-ID without its brackets."""
    return parsed.header.text("Message-ID").strip("<> \t")


def message_date(message: Message, parsed: Parsed) -> datetime:
    """Return the Date field, or the time of arrival where it is missing or wrong."""
    try:
        written = parsedate_to_datetime(parsed.header.first("Date")[:MAX_DATE_CHARACTERS])
        # "-0000": the zone is not known (RFC 5322 3.3).
        return written if written.tzinfo else written.replace(tzinfo=UTC)
    except (ValueError, TypeError, OverflowError, IndexError):
        return datetime.fromtimestamp(message.received_at, UTC)


def tags(parsed: Parsed) -> tuple[str, ...]:
    """Return the tags of X-Tags, sorted, each once, in the letters that Mailpit allows."""
    written = parsed.header.text("X-Tags")[:MAX_LISTED_CHARACTERS].split(",")
    cleaned = (" ".join(_NO_TAG.sub(" ", one).split())[:MAX_TAG_CHARACTERS] for one in written)
    by_name: dict[str, str] = {}
    for one in filter(None, cleaned):
        by_name.setdefault(one.lower(), one)
    return tuple(by_name[name] for name in sorted(by_name)[:MAX_TAGS])


def snippet(parsed: Parsed) -> str:
    """Return the first words: of HTML as a reader sees it where there is one, else of the text."""
    words = _html_beginning(parsed.html()) or _plain_beginning(parsed.plain_texts())
    return words if len(words) <= SNIPPET_CHARACTERS else words[:SNIPPET_CHARACTERS] + "..."


def _html_beginning(part: Part | None) -> str:
    if part is None:
        return ""
    words = ""
    for characters in _SNIPPET_SOURCES:
        source = part.text(characters)
        text = read_html(source, characters=4 * SNIPPET_CHARACTERS).text
        words = " ".join(_BLANKS.split(text)).strip()
        if len(words) > SNIPPET_CHARACTERS or len(source) < characters:
            break
    return words


def _plain_beginning(parts: list[Part]) -> str:
    words = ""
    for part in parts:
        words = f"{words} {' '.join(_BLANKS.split(part.text(16 * SNIPPET_CHARACTERS)))}".strip()
        if len(words) > SNIPPET_CHARACTERS:
            break
    return words


def _shortened(people: Contacts) -> Contacts:
    sender, *others = people
    return Contacts(_bounded((sender,))[0], *map(_bounded, others))


def _bounded(found: Iterable[Address]) -> tuple[Address, ...]:
    """Return the first contacts that take no more than a list's entry may."""
    kept: list[Address] = []
    left = MAX_LISTED_CHARACTERS
    for one in found:
        left -= len(one.name) + len(one.address)
        if kept and (left < 0 or len(kept) >= MAX_LISTED_CONTACTS):
            break
        short = one if left >= 0 else Address(*(text[: MAX_LISTED_CHARACTERS // 2] for text in one))
        kept.append(short)
    return tuple(kept)


# --- what searches look at


def search_text(
    message: Message, parsed: Parsed, people: Contacts | None = None, *, with_body: bool = True
) -> SearchText:
    """Return what searches look at; without the body where only fields are asked for."""
    people = people or contacts(message, parsed)
    recipients = (one.address for one in message.envelope.recipients)
    files = (part.name for part in parsed.parts if part.is_listed)
    return SearchText(
        to=_joined(people.to, *recipients),
        sender=_joined(parsed.addresses("From"), message.envelope.sender),
        cc=_joined(people.cc),
        bcc=_joined(people.bcc),
        reply_to=_joined(people.reply_to),
        subject="\n".join(map(fold, parsed.header.texts("Subject"))),
        message_id="\n".join(map(fold, parsed.header.texts("Message-ID"))),
        files="\n".join(map(fold, files)),
        text=body_text(parsed) if with_body else "",
        cut=_cut(parsed),
    )


def _joined(found: Iterable[Address], *more: str) -> str:
    return "\n".join(
        fold(text) for text in (*(f"{one.name} {one.address}" for one in found), *more)
    )


def body_text(parsed: Parsed) -> str:
    """Return the words of a message as a reader sees them, and where its links lead, folded."""
    found = [fold("".join(part.text_pieces())) for part in parsed.texts("text/plain")]
    for part in parsed.texts("text/html"):
        source = "".join(part.text_pieces())
        seen = read_html(source)
        found += map(fold, (seen.text, *seen.links))
    return "\n".join(filter(None, dict.fromkeys(found)))


def _cut(parsed: Parsed) -> tuple[str, ...]:
    """Return the fields that may hold more than was looked at."""
    if parsed.is_header_cut:
        return SEARCHED_FIELDS
    return ("files", "text") if parsed.is_body_cut else ()
