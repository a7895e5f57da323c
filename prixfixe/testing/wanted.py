"""What a test waits for, as a value: exact fields, and a query of the API."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from prixfixe.mail.folding import fold
from prixfixe.mail.mime import parse_message
from prixfixe.mail.query import QueryError, parse_query
from prixfixe.mail.summary import contacts
from prixfixe.testing.errors import KitError

if TYPE_CHECKING:
    from prixfixe.mail.message import Message as Stored
    from prixfixe.mail.mime import Parsed
    from prixfixe.mail.query import Query, Term
    from prixfixe.testing.message import Message

__all__ = ["Place", "Wanted", "place_of", "recipients_of"]

_ID = re.compile(r"[0-9a-f]{28}")  # they sort by time


class Place(NamedTuple):
    """An id, or else a time in seconds since the epoch; what comes after it is newer."""

    id: str = ""
    seconds: float = 0.0

    def is_before(self, stored: Stored) -> bool:
        """Whether a message came after it."""
        return stored.id > self.id if self.id else stored.received_at > self.seconds

    def __str__(self) -> str:
        """Return the id, or the time."""
        return self.id or datetime.fromtimestamp(self.seconds, UTC).isoformat()


def place_of(since: Message | str | datetime) -> Place:
    """Return the place that a message, its id, or a time stands for. Raises `KitError`."""
    if isinstance(since, str):
        if _ID.fullmatch(since):
            return Place(since)
        try:
            since = datetime.fromisoformat(since)
        except ValueError:
            msg = f"since={since!r}: expected a message, an id, or a time such as 2026-11-30T14:05Z"
            raise KitError(msg) from None
    if isinstance(since, datetime):
        moment = since if since.tzinfo else since.replace(tzinfo=UTC)
        return Place("", moment.timestamp())
    return Place(since.id)


def recipients_of(stored: Stored, parsed: Parsed | None = None) -> set[str]:
    """Return everybody whom envelope and header name as recipients, folded."""
    people = contacts(stored, parsed or parse_message(stored.body))
    named = (one.address for one in (*people.to, *people.cc, *people.bcc))
    return {fold(one) for one in named} | {fold(one.address) for one in stored.envelope.recipients}


class Wanted(NamedTuple):
    """Conditions that all must hold; None is any.

    `domain` is of a recipient, `to` a whole recipient, `sender` the whole address of the author
    (or of the envelope), `subject` the whole subject. Case does not matter.
    """

    domain: str | None = None
    to: str | None = None
    sender: str | None = None
    subject: str | None = None
    query: str | None = None
    since: Place | None = None

    def check(self) -> None:
        """Raise `KitError` if a text can match nothing or cannot be understood."""
        for name in ("to", "sender", "subject"):
            value = getattr(self, name)
            if value is not None and not fold(value):
                raise KitError(f"{name}={value!r}: expected text, or no such argument")
        self.parsed_query()

    def parsed_query(self) -> Query | None:
        """Return the query. Raises `KitError`."""
        if self.query is None:
            return None
        try:
            return parse_query(self.query)
        except QueryError as error:
            raise KitError(f"query={self.query!r}: {error}") from None

    def takes(self, stored: Stored) -> bool:
        """Whether a message is what is wanted."""
        if not self._is_new(stored):
            return False
        is_any = self.to is self.sender is self.subject is self.query is None
        return is_any or not self.differences(stored)

    def _is_new(self, stored: Stored) -> bool:
        return self.since is None or self.since.is_before(stored)

    def is_for_it(self, stored: Stored) -> bool:
        """Whether the envelope has a recipient of the domain, or the wanted one."""
        addresses = [fold(one.address) for one in stored.envelope.recipients]
        if self.domain is not None:
            return any(one.rpartition("@")[2] == self.domain for one in addresses)
        return self.to is None or fold(self.to) in addresses

    def differences(self, stored: Stored) -> list[tuple[str, str, str]]:
        """Return each condition that a message does not meet: its name, what is wanted and is."""
        parsed = parse_message(stored.body)
        found = []
        if self.to is not None:
            there = recipients_of(stored, parsed)
            if fold(self.to) not in there:
                found.append(("to", self.to, ", ".join(sorted(there))))
        if self.sender is not None:
            author = contacts(stored, parsed).sender.address
            if fold(self.sender) not in (fold(author), fold(stored.envelope.sender)):
                found.append(("sender", self.sender, author))
        subject = parsed.header.text("Subject")
        if self.subject is not None and fold(self.subject) != fold(subject):
            found.append(("subject", self.subject, subject))
        found += self._query_differences(stored, parsed)
        return found

    def _query_differences(self, stored: Stored, parsed: Parsed) -> list[tuple[str, str, str]]:
        query = self.parsed_query()
        if query is None:
            return []
        from prixfixe.http.api.mailpit import taken_apart

        seen = taken_apart(stored, parsed).text
        missing = [term for term in query.terms if not term.holds(seen)]
        return [("query", self.query or "", f"does not match {_shown(term)}") for term in missing]

    def __str__(self) -> str:
        """Return the conditions in one line."""
        named = zip(("to", "sender", "subject", "query"), self[1:5], strict=True)
        parts = [f"{name}={value!r}" for name, value in named if value is not None]
        if self.to is None and self.domain is not None:
            parts.insert(0, f"to anybody at {self.domain}")
        if self.since is not None:
            parts.append(f"since {self.since}")
        return ", ".join(parts)


def _shown(term: Term) -> str:
    """Return a term as a query writes it."""
    return f"{'-' if term.is_negated else ''}{term.field and f'{term.field}:'}{term.value}"
