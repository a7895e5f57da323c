"""From a query to SQL over the index, and to what SQL cannot tell.

Conditions on fields, times, sizes and states are SQL. A bare word is found by the known words that
have it in them, which is sure, and by grams, which never miss and may find too much; where they
may, the text itself is looked at. Documents whose words are not fed yet are looked at one by one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from prixfixe.mail.query import ADDRESSED, FIELDS
from prixfixe.stores.index.catalog import CUTS
from prixfixe.stores.index.packing import clean, grams_of, pieces, quoted, unpack_text

if TYPE_CHECKING:
    from prixfixe.mail.query import Query, Term
    from prixfixe.stores.index.vocabulary import Known

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

_GRAM = 3  # characters of the pieces that words without a number are found by
_MOST = 400  # words of an expression: each is compared with each document that it finds
_FIRST = 100  # of more words: those that came first are in most messages


class Sql(NamedTuple):
    """A condition and its values."""

    text: str
    values: tuple[Any, ...] = ()


class Plan(NamedTuple):
    """How a query is answered.

    `where` holds for a document of `message m`. The others are about texts: `match` is an FTS5
    expression that every match meets, "" without one. A document that meets one of `refused` is no
    match. A document has to be looked at if it does not meet each of `sure`, or if it meets one of
    `doubts`; all have to if `must_look`. `words` are looked for in the text, with whether they must
    not be there.

    A query of words alone, all of them wanted, may have a short way: all documents that meet
    `certain` match, "" if that is not known; of those in `words`, the other matches all meet
    `doubtful`, "" if there are none.
    """

    where: Sql
    match: str
    refused: tuple[str, ...]
    sure: tuple[str, ...]
    doubts: tuple[str, ...]
    words: tuple[tuple[bytes, bool], ...]
    must_look: bool
    certain: str
    doubtful: str

    def holds(self, packed: bytes) -> bool:
        """Whether the text of a document meets the conditions on words."""
        text = unpack_text(packed)
        return all((word in text) is not is_negated for word, is_negated in self.words)


class _Grasp(NamedTuple):
    """What the words of the index tell of a term.

    `match` is an expression that all documents with the term meet, "" if there is none. All that
    meet `sure` have the term; `is_exact` when that is all of them.
    """

    match: str
    sure: str
    is_exact: bool


def plan(query: Query, known: Known) -> Plan:
    """Return how a query is answered; `known` are the words of the index."""
    conditions = [_condition(term) for term in query.terms]
    wanted = [
        (term, _grasp(term.text, known))
        for term in query.terms
        if _is_text(term) and not (term.field and term.is_negated)
    ]
    words = [(term, grasp) for term, grasp in wanted if not term.field]
    present = [grasp for term, grasp in words if not term.is_negated and not grasp.is_exact]
    absent = [grasp for term, grasp in words if term.is_negated]
    where = " AND ".join(one.text for one in conditions if one.text)
    match = " AND ".join(
        grasp.match for term, grasp in wanted if grasp.match and not term.is_negated
    )
    certain = _all_of([grasp.sure for _term, grasp in words]) if match and not where else ""
    return Plan(
        Sql(where or "1", tuple(value for one in conditions for value in one.values)),
        match,
        refused=tuple(one.sure for one in absent if one.sure),
        sure=tuple(one.sure for one in present),
        doubts=tuple(one.match for one in absent if not one.is_exact),
        words=tuple((clean(term.text).encode(), term.is_negated) for term, _grasp in words),
        must_look=not all(one.sure for one in present) or not all(one.match for one in absent),
        certain=certain,
        doubtful=f"({match}) NOT ({certain})" if certain and present else "",
    )


def _all_of(sure: list[str]) -> str:
    """Return the expression that documents meet which meet all of these, "" if one is not known."""
    return " AND ".join(f"({one})" for one in sure) if all(sure) else ""


def _is_text(term: Term) -> bool:
    return not term.field or term.field in FIELDS


def _grasp(text: str, known: Known) -> _Grasp:
    found = [(piece, known.containing(piece, _MOST + 1)) for piece in pieces(text)]
    # What one or two characters are found by takes long to gather, and narrows little down.
    long = [each for each in found if len(each[0]) >= _GRAM] or found
    match = " AND ".join(_matching(*each) for each in long if len(each[1]) <= _MOST)
    if [text] != [piece for piece, _words in found]:
        return _Grasp(match, "", is_exact=False)
    words = found[0][1]
    first = words if len(words) <= _MOST else words[:_FIRST]
    if len(text) <= _GRAM and len(words) <= _MOST:
        return _Grasp(match, match, is_exact=True)
    return _Grasp(match, " OR ".join(map(quoted, first)), is_exact=False)


def _matching(piece: str, words: list[str]) -> str:
    """Return an expression that each document meets which has a piece in one of its words."""
    return f"({' OR '.join((f'({grams_of(piece)})', *map(quoted, words)))})"


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
