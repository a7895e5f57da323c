"""Mailpit's search syntax: the part that tests use.

Owns: parsing and matching `to:`, `from:`, `cc:`, `bcc:`, `subject:`, `message-id:`, quoted phrases,
bare words, and negation by `!` or `-`.
Promises: every term must hold (AND); comparison is by substring, without regard to case, as in
Mailpit, so put a unique tag in the address of each test. A negated term holds only where all was
looked at: a DELETE must not take what the rest would have kept.
Refuses, with `QueryError`: an empty query or value, and what it would misunderstand: Mailpit's
other prefixes, and a negated word that looks like one (its negation holds for all mail).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from prixfixe.mail.folding import fold

if TYPE_CHECKING:
    from prixfixe.mail.summary import SearchText

__all__ = ["FIELDS", "Query", "QueryError", "parse_query"]

FIELDS = ("to", "from", "cc", "bcc", "subject", "message-id")
UNSUPPORTED = (
    *("addressed", "after", "before", "has", "is", "larger", "reply-to", "smaller", "tag"),
)
MAX_QUERY = 1000  # characters
_TERM = re.compile(r'([!-]?)(?:([A-Za-z-]+):("[^"]*"|[^\s"]*)|("[^"]*"|[^\s"]+))')


class QueryError(ValueError):
    """The query cannot be understood; the text says what is expected."""


class Term(NamedTuple):
    """One condition; `field` is "" for a bare word."""

    field: str
    value: str
    is_negated: bool

    def holds(self, text: SearchText) -> bool:
        """Whether a message meets it, for sure."""
        is_there = self.value in text.field(self.field)
        return not (is_there or text.is_cut(self.field)) if self.is_negated else is_there


class Query(NamedTuple):
    """Conditions that all must hold."""

    terms: tuple[Term, ...]

    @property
    def needs_text(self) -> bool:
        """Whether bodies must be looked at."""
        return any(not term.field for term in self.terms)

    def matches(self, text: SearchText) -> bool:
        """Whether a message meets every condition."""
        return all(term.holds(text) for term in self.terms)


def parse_query(text: str) -> Query:
    """Parse a query.

    Raises:
        QueryError: it is empty, too long, has a stray quote, or a term that means something else.

    """
    if len(text) > MAX_QUERY:
        msg = f"query: expected at most {MAX_QUERY} characters"
        raise QueryError(msg)
    if text.count('"') % 2:
        raise QueryError("query: a quote is not closed")
    terms = tuple(_term(*match) for match in _TERM.findall(text))
    if not terms:
        raise QueryError("query: expected words or to:, from:, subject:, message-id:")
    return Query(terms)


def _term(negation: str, name: str, prefixed: str, bare: str) -> Term:
    field = name.lower()
    value = (prefixed if name else bare).strip('"')
    value = fold(value)
    if field not in FIELDS and name:
        _check_unknown(negation, field, value)
        field, value = "", f"{field}:{value}"
    if field == "message-id":
        value = value.strip("<>")
    if not value:
        msg = f"query: expected text after {negation}{name and name + ':'}"
        raise QueryError(msg)
    return Term(field, value, bool(negation))


def _check_unknown(negation: str, field: str, value: str) -> None:
    """Refuse a prefix that means something else in Mailpit, or may be misspelled and negated."""
    if field in UNSUPPORTED:
        msg = (
            f'query: {field}: is not supported; write it in quotes ("{field}:...") to find the text'
        )
        raise QueryError(msg)
    if negation and not value.startswith("//"):  # An address of the web is plain text.
        msg = f'query: {field}: is no prefix; write {negation}"{field}:..." to exclude the text'
        raise QueryError(msg)
