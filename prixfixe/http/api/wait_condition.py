"""What a `wait` waits for: a query, exact fields, and since when."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from starlette.exceptions import HTTPException

from prixfixe.mail.folding import fold
from prixfixe.mail.query import Query, QueryError, Term, parse_query

if TYPE_CHECKING:
    from starlette.requests import Request

    from prixfixe.http.api.mailpit import Entry
    from prixfixe.stores.index import Found

__all__ = ["WaitCondition", "time_of", "wait_condition"]

_ID = re.compile(r"[0-9a-f]{28}")
_EXACT = ("to", "from", "subject")
_AFTER_ALL = "\x7f"  # above every id


class WaitCondition(NamedTuple):
    """A query that finds candidates, and what an entry must say exactly."""

    query: Query
    exact: tuple[tuple[str, str], ...] = ()
    since: tuple[float, str] | None = None

    @property
    def looks_at_entries(self) -> bool:
        """Whether the query alone does not tell."""
        return bool(self.exact) or self.since is not None

    def after(self, place: tuple[float, str]) -> WaitCondition:
        """Want only what came after a time in seconds and an id."""
        return self._replace(since=place)

    def takes(self, entry: Entry | Found) -> bool:
        """Whether an entry is exactly what is wanted."""
        if not self.looks_at_entries:
            return True
        record = json.loads(entry.record)
        if self.since is not None:
            created = datetime.fromisoformat(record["Created"]).timestamp()
            # A list tells milliseconds; an id tells apart what came in one of them.
            if (_milliseconds(created), entry.id) <= (_milliseconds(self.since[0]), self.since[1]):
                return False
        return all(fold(value) in _said(record, name) for name, value in self.exact)


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000 - 0.5)


def _said(record: dict[str, Any], name: str) -> set[str]:
    """Return what a record says of a field: addresses, or the subject."""
    if name == "subject":
        return {fold(record["Subject"])}
    if name == "from":
        return {fold(record["From"]["Address"])}
    people = (one for field in ("To", "Cc", "Bcc") for one in record[field])
    return {fold(one["Address"]) for one in people}


def wait_condition(request: Request) -> WaitCondition:
    """Return what is wanted. Raises `QueryError`: it cannot be understood, or is nothing."""
    given = request.query_params
    exact = tuple((name, given[name]) for name in _EXACT if name in given)
    if any(not fold(value) for _name, value in exact):
        raise QueryError("to, from, subject: expected text")
    text = given.get("query", "")
    terms = parse_query(text, given.get("tz", "")).terms if text or not exact else ()
    return WaitCondition(
        Query((*terms, *(_candidates(name, value) for name, value in exact))), exact
    )


def _candidates(name: str, value: str) -> Term:
    """Return a term that everything that says so exactly meets."""
    return Term("addressed" if name == "to" else name, fold(value), is_negated=False)


def time_of(text: str) -> tuple[float, str]:
    """Return the time of an id that is not there any more, or of a date; or answer 400."""
    if _ID.fullmatch(text):
        return int(text[:11], 16) / 1000, text
    try:
        moment = datetime.fromisoformat(text.replace(" ", "+"))
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp(), _AFTER_ALL
    except (ValueError, OverflowError):
        expected = "expected the ID of a message or a time such as 2026-11-30T14:05:00Z"
        raise HTTPException(400, f"since: {expected}") from None
