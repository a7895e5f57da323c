"""Mailpit's search syntax: the part that tests use.

Owns: parsing and matching `to:`, `from:`, `cc:`, `bcc:`, `subject:`, `message-id:`, quoted phrases,
bare words, and negation by `!` or `-`.
Promises: every term must hold (AND); comparison is by substring, without regard to case, as in
Mailpit, so put a unique tag in the address of each test.
Refuses: an empty query, with `QueryError`.
"""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["FIELDS", "Query", "QueryError", "SearchText", "parse_query"]

FIELDS = ("to", "from", "cc", "bcc", "subject", "message-id")
MAX_QUERY = 1000  # characters
_TERM = re.compile(r'([!-]?)(?:([A-Za-z-]+):)?("[^"]*"|[^\s"]+)')


class QueryError(ValueError):
    """The query cannot be understood; the text says what is expected."""


class SearchText(NamedTuple):
    """What a query looks at, all lower-cased; `to` holds the To field and envelope recipients."""

    to: str
    sender: str
    cc: str
    bcc: str
    subject: str
    message_id: str
    text: str = ""

    def field(self, name: str) -> str:
        """Return the text a prefix names, or everything for ""."""
        index = ("to", "from", "cc", "bcc", "subject", "message-id").index(name) if name else -1
        return "\n".join(self) if index < 0 else self[index]


class Term(NamedTuple):
    """One condition; `field` is "" for a bare word."""

    field: str
    value: str
    is_negated: bool


class Query(NamedTuple):
    """Conditions that all must hold."""

    terms: tuple[Term, ...]

    @property
    def needs_text(self) -> bool:
        """Whether bodies must be looked at."""
        return any(not term.field for term in self.terms)

    def matches(self, text: SearchText) -> bool:
        """Whether a message meets every condition."""
        return all((term.value in text.field(term.field)) != term.is_negated for term in self.terms)


def parse_query(text: str) -> Query:
    """Parse a query.

    Raises:
        QueryError: it is empty, too long, or has a stray quote.

    """
    if len(text) > MAX_QUERY:
        msg = f"query: expected at most {MAX_QUERY} characters"
        raise QueryError(msg)
    if text.count('"') % 2:
        raise QueryError("query: a quote is not closed")
    terms = tuple(_term(*match) for match in _TERM.findall(text))
    if not any(term.value for term in terms):
        raise QueryError("query: expected words or to:, from:, subject:, message-id:")
    return Query(tuple(term for term in terms if term.value))


def _term(negation: str, name: str, value: str) -> Term:
    field = name.lower()
    if field and field not in FIELDS:  # Text with a colon, such as an address of the web.
        field, value = "", f"{name}:{value}"
    bare = value.strip('"').lower()
    return Term(field, bare.strip("<>") if field == "message-id" else bare, bool(negation))
