"""Play every case on a target and report the results as text.

A case has one result, that of its first variant that does not pass. A case that the target does
not offer is counted apart from one that it fails. No failure stops the run.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from prixfixe.verify.dialogue.runner import play
from tests.conformance.targets import NotOfferedError, UnseenError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from prixfixe.verify.dialogue.script import Case
    from tests.conformance.targets import Target

__all__ = [
    "FAIL",
    "NOT_OFFERED",
    "OTHERWISE",
    "PASS",
    "UNPUBLISHED",
    "UNSEEN",
    "Result",
    "line",
    "results",
    "summary",
]

# Played on PrixFixe only: P rests on a defect of a parser that others share; of K and N, what others
# do with the rest of a refused chunk has not been told to those who could mend it.
UNPUBLISHED = frozenset(("K06", "N38", "N70", "P23", "P24"))
PASS, FAIL, OTHERWISE = "pass", "FAIL", "otherwise"
NOT_OFFERED, UNSEEN = "not offered", "unseen"
OUTCOMES = (PASS, FAIL, OTHERWISE, NOT_OFFERED, UNSEEN)


class Result(NamedTuple):
    """How one case went: the outcome, and why it is not a pass."""

    case: Case
    outcome: str
    why: str
    plays: int
    seconds: float


def results(cases: Iterable[Case], target: Target, *, by_class: bool = True) -> Iterator[Result]:
    """Play cases one by one, each up to its first variant that does not pass.

    `by_class` plays what failed again, to tell another code of the class from a failure.
    """
    for case in cases:
        start = time.monotonic()
        outcome, why, plays = PASS, "", 0
        for variant in _variants(case, target):
            plays += 1
            outcome, why = _judged(case, variant, target, by_class=by_class)
            if outcome != PASS:
                break
        yield Result(case, outcome, why, plays, time.monotonic() - start)


def _variants(case: Case, target: Target) -> tuple[str, ...]:
    """Leave out the ways that are batches where these are not taken."""
    if target.takes_batches:
        return case.variants
    return tuple(one for one in case.variants if one in ("whole", "octets"))


def _judged(case: Case, variant: str, target: Target, *, by_class: bool) -> tuple[str, str]:
    """Play a case, and again by class of code for servers that never promised ours."""
    outcome, why = _judge(case, variant, target)
    may_differ = by_class and not target.is_strict and any(part.steps for part in case.parts)
    if outcome != FAIL or not may_differ:
        return outcome, why
    again, _ = _judge(case, variant, target, by_class=True)
    return OTHERWISE if again == PASS else FAIL, why


def _judge(case: Case, variant: str, target: Target, *, by_class: bool = False) -> tuple[str, str]:
    try:
        play(case, variant, target, by_class=by_class)
    except NotOfferedError as error:
        return NOT_OFFERED, str(error)
    except UnseenError as error:
        return UNSEEN, str(error)
    except Exception as error:  # noqa: BLE001 - whatever a server answers, the run goes on
        return FAIL, str(error) or repr(error)
    return PASS, ""


def line(result: Result) -> str:
    """Return one line on one case."""
    text = f"{result.case.id} {result.case.level} {result.outcome:11} {result.seconds:6.2f} s"
    return f"{text}  {result.why}" if result.why else text


def summary(found: Iterable[Result]) -> str:
    """Return the counts, in all and by level."""
    found = list(found)
    levels = [[one for one in found if one.case.level == level] for level in "MSP"]
    parts = [_counts("all", found), *map(_counts, "MSP", levels)]
    plays, seconds = sum(one.plays for one in found), sum(one.seconds for one in found)
    return "\n".join([*parts, f"{plays} plays in {seconds:.0f} s"])


def _counts(name: str, found: list[Result]) -> str:
    counts = Counter(one.outcome for one in found)
    told = ", ".join(f"{counts[outcome]} {outcome}" for outcome in OUTCOMES)
    return f"{name:3} {len(found):3}: {told}"
