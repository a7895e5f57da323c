"""The search grammar of Mailpit: parse a query, and tell whether a message meets it.

Every term must hold. A negated term holds only where the whole field was looked at, so that a
DELETE never takes what a whole look would have kept. docs/api.md describes the grammar.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, tzinfo
from email.utils import parsedate_to_datetime
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

from prixfixe.mail.folding import fold

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "ADDRESSED",
    "FIELDS",
    "PREFIXES",
    "Query",
    "QueryError",
    "Searchable",
    "Term",
    "parse_query",
]

# Prefixes that look at the text of a field, in the order of `Searchable`.
FIELDS = ("to", "from", "cc", "bcc", "reply-to", "subject", "message-id")
ADDRESSED = ("to", "from", "cc", "bcc", "reply-to")
# Words after `is:` and `has:`, with the other forms that Mailpit takes.
WORDS = {
    "is": {"read": "read", "unread": "unread", "tagged": "tagged"},
    "has": {
        "attachment": "attachment",
        "attachments": "attachment",
        "inline": "inline",
        "inlines": "inline",
    },
}
DATES = ("after", "before")
SIZES = ("larger", "smaller")
PREFIXES = (*FIELDS, "addressed", "tag", *WORDS, *DATES, *SIZES)
MAX_QUERY = 1000  # characters
_TERM = re.compile(r'([!-]?)(?:([A-Za-z-]+):("[^"]*"|[^\s"]*)|("[^"]*"|[^\s"]+))')
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,6})?) ?(?:([kmg])?b?)", re.ASCII)
_UNITS = {None: 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_EPOCH = re.compile(r"\d{10}(?:\d{3})?", re.ASCII)  # seconds or milliseconds
_MONTH = re.compile(r"\d{4}(?:-\d\d)?", re.ASCII)
_ZONE = re.compile(r"[A-Za-z0-9_+-]{1,40}(?:/[A-Za-z0-9_+-]{1,40}){0,2}")


class QueryError(ValueError):
    """The query cannot be understood; the text says what is expected."""


class Searchable(NamedTuple):
    """What a query looks at, the text folded; `to` holds the To field and envelope recipients.

    `cut` names the fields of which this may be the beginning only. `text` is the rest that bare
    words are looked for in: the body and the names of attachments. `received_at` is in seconds,
    `size` in bytes.
    """

    to: str = ""
    sender: str = ""
    cc: str = ""
    bcc: str = ""
    reply_to: str = ""
    subject: str = ""
    message_id: str = ""
    text: str = ""
    cut: tuple[str, ...] = ()
    received_at: float = 0.0
    size: int = 0
    attachments: int = 0
    inline: int = 0
    is_read: bool = False
    tags: tuple[str, ...] = ()

    @property
    def fields(self) -> tuple[str, ...]:
        """The texts that prefixes name, in the order of `FIELDS`."""
        return (
            *(self.to, self.sender, self.cc, self.bcc),
            *(self.reply_to, self.subject, self.message_id),
        )

    @property
    def whole(self) -> str:
        """All that a bare word is looked for in."""
        return "\n".join((*self.fields, self.text))

    def field(self, name: str) -> str:
        """Return the text a prefix names, or everything for ""."""
        return self.fields[FIELDS.index(name)] if name else self.whole

    def is_cut(self, name: str) -> bool:
        """Return whether there may be more of it."""
        return name in self.cut if name else bool(self.cut)


class Term(NamedTuple):
    """One condition; `field` is "" for a bare word.

    `value` is folded text, seconds since the epoch for a date, or bytes for a size.
    """

    field: str
    value: str | float
    is_negated: bool

    @property
    def text(self) -> str:
        """The folded text to look for."""
        return str(self.value)

    @property
    def number(self) -> float:
        """The time in seconds, or the size in bytes."""
        return float(self.value)

    def holds(self, seen: Searchable) -> bool:
        """Whether a message meets it, for sure."""
        is_there = self._is_there(seen)
        return not (is_there or self._is_unsure(seen)) if self.is_negated else is_there

    def _is_there(self, seen: Searchable) -> bool:
        if self.field == "addressed":
            return any(self.text in seen.field(name) for name in ADDRESSED)
        if not self.field or self.field in FIELDS:
            return self.text in seen.field(self.field)
        if self.field == "tag":
            return self.text in map(fold, seen.tags)
        if self.field in WORDS:
            return _FACTS[self.text](seen)
        return _MEASURES[self.field](seen, self.number)

    def _is_unsure(self, seen: Searchable) -> bool:
        if self.field == "addressed":
            return any(map(seen.is_cut, ADDRESSED))
        return (not self.field or self.field in FIELDS) and seen.is_cut(self.field)


_FACTS: dict[str, Callable[[Searchable], bool]] = {
    "read": lambda seen: seen.is_read,
    "unread": lambda seen: not seen.is_read,
    "tagged": lambda seen: bool(seen.tags),
    "attachment": lambda seen: seen.attachments > 0,
    "inline": lambda seen: seen.inline > 0,
}
_MEASURES: dict[str, Callable[[Searchable, float], bool]] = {
    "after": lambda seen, bound: seen.received_at >= bound,
    "before": lambda seen, bound: seen.received_at <= bound,
    "larger": lambda seen, bound: seen.size > bound,
    "smaller": lambda seen, bound: seen.size < bound,
}


class Query(NamedTuple):
    """Conditions that all must hold."""

    terms: tuple[Term, ...]

    @property
    def needs_text(self) -> bool:
        """Whether bodies must be looked at."""
        return any(not term.field for term in self.terms)

    def matches(self, seen: Searchable) -> bool:
        """Whether a message meets every condition."""
        return all(term.holds(seen) for term in self.terms)


def _zone(name: str) -> tzinfo:
    """Return a time zone by its name, such as `Europe/Berlin`; "" is UTC."""
    if not name or name.upper() == "UTC":
        return UTC
    try:  # The image has neither the module nor the zones.
        found: tzinfo = import_module("zoneinfo").ZoneInfo(name)
    except (ImportError, OSError, ValueError, LookupError):
        raise _no_zone(name) from None
    return found


def _no_zone(name: str) -> QueryError:
    return QueryError(f"tz: {name!a} is no time zone here; expected a name such as Europe/Berlin")


def parse_query(text: str, tz: str = "") -> Query:
    """Parse a query; dates without a zone are in the zone named `tz`, "" being UTC.

    Raises:
        QueryError: it is empty, too long, has a stray quote, or a term that means something else.

    """
    if len(text) > MAX_QUERY:
        msg = f"query: expected at most {MAX_QUERY} characters"
        raise QueryError(msg)
    if tz and not _ZONE.fullmatch(tz):
        raise _no_zone(tz)
    if text.count('"') % 2:
        raise QueryError("query: a quote is not closed")
    terms = tuple(_term(match, tz) for match in _TERM.finditer(text))
    if not terms:
        raise QueryError(
            "query: expected words, or fields such as to:, cc:, bcc:, from:, subject:, tag:"
        )
    return Query(terms)


def _term(match: re.Match[str], tz: str) -> Term:
    negation, name, prefixed, bare = (group or "" for group in match.groups())
    field = name.lower()
    written = (prefixed if name else bare).strip('"')
    value = fold(written)
    if name and field not in PREFIXES:
        _check_unknown(negation, field, value)
        field, value = "", f"{field}:{value}"
    if field == "message-id":
        value = value.strip("<>")
    if not value:
        msg = f"query: expected text after {negation}{name and name + ':'}"
        raise QueryError(msg)
    return Term(field, _meaning(field, value, tz), bool(negation))


def _check_unknown(negation: str, field: str, value: str) -> None:
    """Refuse a prefix that may be misspelled and negated: its negation holds for all mail."""
    if negation and not value.startswith("//"):  # An address of the web is plain text.
        msg = f'query: {field}: is no prefix; write {negation}"{field}:..." to exclude the text'
        raise QueryError(msg)


def _meaning(field: str, value: str, tz: str) -> str | float:
    """Return what the text after a prefix stands for."""
    if field in WORDS:
        return _word(field, value)
    if field in DATES:
        return _date(field, value, tz)
    return _size(field, value) if field in SIZES else value


def _word(field: str, value: str) -> str:
    known = WORDS[field].get(value)
    if known is None:
        expected = ", ".join(f"{field}:{word}" for word in dict.fromkeys(WORDS[field].values()))
        msg = f"query: {field}:{value[:40]} is not known; expected {expected}"
        raise QueryError(msg)
    return known


def _size(field: str, value: str) -> float:
    match = _SIZE.fullmatch(value)
    size = int(float(match[1]) * _UNITS[match[2]]) if match else 0
    if not size:
        msg = f"query: {field}:{value[:40]} is no size; expected bytes, or 20k, 1.5m"
        raise QueryError(msg)
    return size


def _date(field: str, value: str, tz: str) -> float:
    try:
        return _moment(value.upper(), tz)
    except QueryError:
        raise
    except (ValueError, TypeError, OverflowError, IndexError):
        msg = (
            f"query: {field}:{value[:40]} is no date; expected 2026-11-30, "
            '"2026-11-30 14:05" or 2026-11-30T14:05:00Z'
        )
        raise QueryError(msg) from None


def _moment(text: str, tz: str) -> float:
    """Return the seconds since the epoch of a date as people and programs write it."""
    if _EPOCH.fullmatch(text):
        return int(text) / (1000 if len(text) > 10 else 1)
    text = text.replace("/", "-")
    if _MONTH.fullmatch(text):
        text += "-01-01"[: 10 - len(text)] if len(text) == 4 else "-01"
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = parsedate_to_datetime(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=_zone(tz))).timestamp()
