"""From a query to SQL over the index, and to what SQL cannot tell.

Conditions on fields, times, sizes and states are SQL. Bare words are narrowed down by grams, which
never miss and may find too much; where they may, the text itself is looked at. Documents whose
words are not fed yet are looked at one by one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from prixfixe.mail.query import ADDRESSED, FIELDS
from prixfixe.stores.index.catalog import CUTS
from prixfixe.stores.index.packing import clean, expression, is_exact, unpack_text

if TYPE_CHECKING:
    from prixfixe.mail.query import Query, Term

__all__ = ["Plan", "plan"]

_COLUMNS = dict(
    zip(
        FIELDS,
        ("rcpt", "sender", "cc", "bcc", "reply_to", "subject", "message_id"),
        strict=True,
    )
)
_FACTS = {
    "read": "m.is_read = 1",
    "unread": "m.is_read = 0",
    "tagged": "m.tags <> ''",
    "attachment": "m.attachments > 0",
    "inline": "m.inline > 0",
}
_MEASURES = {
    "after": "m.received_at >= ?",
    "before": "m.received_at <= ?",
    "larger": "m.size > ?",
    "smaller": "m.size < ?",
}


class Sql(NamedTuple):
    """A condition and its values."""

    text: str
    values: tuple[Any, ...] = ()


class Plan(NamedTuple):
    """How a query is answered.

    `where` holds for a document of `message m`; `match` is an FTS5 expression that every match
    meets, "" without one; `doubts` are expressions of which a document that meets none need not
    be looked at. `words` are looked for in the text, with whether they must not be there.
    `must_look` when each document has to be looked at.
    """

    where: Sql
    match: str
    doubts: tuple[str, ...]
    words: tuple[tuple[bytes, bool], ...]
    must_look: bool

    def holds(self, packed: bytes) -> bool:
        """Whether the text of a document meets the conditions on words."""
        text = unpack_text(packed)
        return all((word in text) is not is_negated for word, is_negated in self.words)


def plan(query: Query) -> Plan:
    """Return how a query is answered."""
    conditions = [_condition(term) for term in query.terms]
    words = [term for term in query.terms if not term.field]
    sure = [term for term in query.terms if not term.is_negated and _is_text(term)]
    matches = [found for term in sure if (found := expression(term.text))]
    negated = [expression(term.text) for term in words if term.is_negated]
    return Plan(
        Sql(
            " AND ".join(one.text for one in conditions if one.text) or "1",
            tuple(value for one in conditions for value in one.values),
        ),
        " AND ".join(matches),
        tuple(one for one in negated if one),
        tuple((clean(term.text).encode(), term.is_negated) for term in words),
        any(not _is_settled(term) for term in words),
    )


def _is_text(term: Term) -> bool:
    return not term.field or term.field in FIELDS


def _is_settled(term: Term) -> bool:
    """Whether grams alone tell that a document need not be looked at for this word."""
    return is_exact(term.text) or (term.is_negated and expression(term.text) is not None)


def _condition(term: Term) -> Sql:
    if term.field == "addressed":
        return _text_in(term, ADDRESSED)
    if term.field in FIELDS:
        return _text_in(term, (term.field,))
    if not term.field:
        return Sql("m.cut = 0" if term.is_negated else "")
    return _negated(_fact(term), is_negated=term.is_negated)


def _text_in(term: Term, fields: tuple[str, ...]) -> Sql:
    text = clean(term.text)
    found = " OR ".join(f"instr(m.{_COLUMNS[field]}, ?)" for field in fields)
    if not term.is_negated:
        return Sql(f"({found})", (text,) * len(fields))
    cut = sum(CUTS[field] for field in fields)
    return Sql(f"(NOT ({found}) AND m.cut & {cut} = 0)", (text,) * len(fields))


def _fact(term: Term) -> Sql:
    if term.field == "tag":
        return Sql("instr(m.tags, ?)", (f"\n{clean(term.text)}\n",))
    if term.field in _MEASURES:
        return Sql(_MEASURES[term.field], (term.number,))
    return Sql(_FACTS[term.text])


def _negated(sql: Sql, *, is_negated: bool) -> Sql:
    return Sql(f"NOT ({sql.text})", sql.values) if is_negated else sql
