"""A stored message as a test reads it: what the envelope says, and what a reader would see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING

from prixfixe.http.api.mailpit import shown_text
from prixfixe.mail.extract import (
    MAX_CODE_LENGTH,
    MIN_CODE_LENGTH,
    find_codes,
    find_links,
)
from prixfixe.mail.mime import parse_message
from prixfixe.mail.summary import contacts
from prixfixe.testing.errors import ExtractError, KitError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Self

    from prixfixe.mail.addresses import Address as Read
    from prixfixe.mail.header import Header
    from prixfixe.mail.message import Envelope
    from prixfixe.mail.message import Message as Stored
    from prixfixe.mail.mime import Parsed, Part
    from prixfixe.mail.summary import Contacts

__all__ = ["Address", "Attachment", "Headers", "Message"]


class Address(str):
    """A mailbox such as `ann@example.com`; `name` is the display name, or ""."""

    __slots__ = ("name",)
    name: str

    def __new__(cls, address: str, name: str = "") -> Self:
        """Return the text of the mailbox, with a name."""
        made = super().__new__(cls, address)
        made.name = name
        return made

    @property
    def address(self) -> str:
        """The mailbox as a plain text."""
        return str(self)


@dataclass(frozen=True)
class Attachment:
    """A file in a message; `content` is decoded."""

    name: str
    content_type: str
    content: bytes
    content_id: str = ""

    def text(self, encoding: str = "utf-8") -> str:
        """Return the content as text."""
        return self.content.decode(encoding)


class Headers(Mapping[str, str]):
    """The fields of a header, decoded. Names have no case; of several fields, the first counts."""

    def __init__(self, header: Header) -> None:
        self._header = header

    def __getitem__(self, name: str) -> str:
        if not self._header.values(name):
            raise KeyError(name)
        return self._header.text(name)

    def __iter__(self) -> Iterator[str]:
        """Yield each name once, as the message writes it."""
        seen = {name.lower(): name for name, _value in reversed(self._header.fields)}
        yield from dict.fromkeys(seen[name.lower()] for name, _value in self._header.fields)

    def __len__(self) -> int:
        return sum(1 for _name in self)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(self._header.values(name))

    def get_all(self, name: str) -> list[str]:
        """Return all fields of this name."""
        return self._header.texts(name)


class Message:
    """A message that the server stored.

    `sender` and `to`, `cc`, `bcc` are what the header says; `bcc` also has the recipients that no
    field names. `recipients` are those of the envelope. All are texts with an attribute `name`.
    """

    def __init__(self, stored: Stored) -> None:
        self._stored = stored

    @property
    def id(self) -> str:
        """The id that the 250 named; paths of the API take it."""
        return self._stored.id

    @property
    def raw(self) -> bytes:
        """The message as it was sent, byte for byte."""
        return self._stored.body

    @property
    def envelope(self) -> Envelope:
        """What the SMTP session said: sender, recipients and parameters, peer, HELO, TLS, user."""
        return self._stored.envelope

    @property
    def received_at(self) -> datetime:
        """When the server stored it, in UTC."""
        return datetime.fromtimestamp(self._stored.received_at, UTC)

    @cached_property
    def _parsed(self) -> Parsed:
        return parse_message(self._stored.body)

    @cached_property
    def _contacts(self) -> Contacts:
        return contacts(self._stored, self._parsed)

    @property
    def subject(self) -> str:
        """The subject, decoded, in one line; "" if there is none."""
        return self._parsed.header.text("Subject")

    @property
    def sender(self) -> Address:
        """The author of the field From, or the envelope's sender if there is no such field."""
        return _address(self._contacts.sender)

    @property
    def recipients(self) -> list[Address]:
        """The recipients of the envelope: everybody who gets it."""
        return [Address(one.address) for one in self._stored.envelope.recipients]

    @property
    def to(self) -> list[Address]:
        """The field To."""
        return _addresses(self._contacts.to)

    @property
    def cc(self) -> list[Address]:
        """The field Cc."""
        return _addresses(self._contacts.cc)

    @property
    def bcc(self) -> list[Address]:
        """The recipients that neither To nor Cc names."""
        return _addresses(self._contacts.bcc)

    @property
    def reply_to(self) -> list[Address]:
        """The field Reply-To."""
        return _addresses(self._contacts.reply_to)

    @property
    def headers(self) -> Headers:
        """The fields of the header, decoded."""
        return Headers(self._parsed.header)

    @cached_property
    def text(self) -> str:
        """The text as a reader sees it, with LF at line ends; of a message in HTML only, that."""
        return shown_text(self._parsed)

    @cached_property
    def html(self) -> str:
        """The HTML, "" if there is none."""
        part = self._parsed.html()
        return "" if part is None else part.text()

    @cached_property
    def attachments(self) -> list[Attachment]:
        """The attached files, in their order."""
        return [_file(part) for part in self._parsed.parts if part.is_listed and part.is_attachment]

    @cached_property
    def inline(self) -> list[Attachment]:
        """The files that are shown within the message, such as its pictures."""
        listed = (part for part in self._parsed.parts if part.is_listed)
        return [_file(part) for part in listed if not part.is_attachment]

    def attachment(self, name: str) -> Attachment:
        """Return the attached or inline file of this name.

        Raises:
            ExtractError: there is none; the text has the names that there are.

        """
        files = [*self.attachments, *self.inline]
        for one in files:
            if one.name == name:
                return one
        there = ", ".join(one.name for one in files) or "none"
        raise ExtractError(f"no file named {name!r} in {self!r}; there: {there}")

    @cached_property
    def _plain(self) -> str:
        return "\n".join(part.text() for part in self._parsed.plain_texts())

    def links(self) -> list[str]:
        """Return the links of HTML and text, each once; entities are decoded."""
        return find_links(self._plain, self.html)

    def link(self, contains: str = "") -> str:
        """Return the first link that contains this text.

        Raises:
            ExtractError: there is none; the text has all links.

        """
        all_links = self.links()
        for one in all_links:
            if contains in one:
                return one
        wanted = f" that contains {contains!r}" if contains else ""
        there = "".join(f"\n  {one}" for one in all_links) or " none"
        raise ExtractError(f"no link{wanted} in {self!r}; links there:{there}")

    def codes(self, length: int = 6) -> list[str]:
        """Return the codes of so many characters, the most likely first. Raises `KitError`."""
        if not MIN_CODE_LENGTH <= length <= MAX_CODE_LENGTH:
            expected = f"expected {MIN_CODE_LENGTH} to {MAX_CODE_LENGTH}"
            raise KitError(f"length={length!r}: {expected}")
        return find_codes(self._plain, self.html, self.subject, length)

    def code(self, length: int = 6) -> str:
        """Return the most likely code of so many characters, such as a one-time password.

        Raises:
            ExtractError: there is none; the text has the beginning of the message.

        """
        found = self.codes(length)
        if found:
            return found[0]
        raise ExtractError(f"no code of length {length} in {self!r}; it says:\n{self.text[:500]}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Message) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        to = ", ".join(self.recipients)
        return f"<Message {self.id} from {self.sender} to {to}: {self.subject!r}>"


def _address(read: Read) -> Address:
    return Address(read.address, read.name)


def _addresses(read: Iterable[Read]) -> list[Address]:
    return [_address(one) for one in read]


def _file(part: Part) -> Attachment:
    return Attachment(part.name, part.content_type, part.content, part.content_id)
