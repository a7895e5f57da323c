"""Play a case on a target, in one of its variants, and judge the replies and the stored messages.

Every part that leaves the session open ends with QUIT. A failure names the case, its place in the
file and the variant.
"""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

from prixfixe.verify.dialogue import specials
from prixfixe.verify.dialogue.outcomes import CaseError, check_outcomes, is_count
from prixfixe.verify.dialogue.script import Part, Step
from prixfixe.verify.dialogue.servers import NotOfferedError, UnseenError
from prixfixe.verify.dialogue.talk import Talk
from prixfixe.verify.dialogue.wire import ClosedError

if TYPE_CHECKING:
    from prixfixe.verify.dialogue.script import Case
    from prixfixe.verify.dialogue.servers import Target

__all__ = ["CaseError", "play"]

GREETING = Step("expect", alternatives=[["220"]])
QUIT = Step("send", b"QUIT\r\n")
BYE = Step("expect", alternatives=[["221", "eof"]])
# Others may hang up on what they refused: the answers that the case is about came before.
BYE_OF_OTHERS = Step("expect", alternatives=[["221", "eof"], ["421", "eof"], ["eof"]])


def play(case: Case, variant: str, target: Target, *, by_class: bool = False) -> None:
    """Play every part of a dialogue case in one of its variants.

    `by_class` takes any code of the class of the one expected: its first digit is what a client
    must act on (RFC 5321 section 4.2.1).

    Raises:
        CaseError: the target failed the case.
        NotOfferedError: the target has no such configuration, or not the extension.
        UnseenError: all replies are right, and what is stored cannot be seen.

    """
    target.begin()
    if case.needs:
        _check_offers(case, target)
    unseen: UnseenError | None = None
    for part in case.parts:
        if part.steps and variant in part.variants:
            try:
                _play_on(case, part, variant, target, by_class=by_class)
            except UnseenError as error:  # Its replies were right; so may others' not be.
                unseen = error
    if case.special and variant == "whole":
        _play_special(case, target)  # The last: what a target cannot show hides no failure.
    if unseen is not None:
        raise unseen


def _check_offers(case: Case, target: Target) -> None:
    offered = target.using(case.config).keywords()
    for word in case.needs:
        if word not in offered and not (word == "PIPELINING" and target.takes_batches):
            raise NotOfferedError(word)


def _play_special(case: Case, target: Target) -> None:
    try:
        specials.FUNCTIONS[case.special](target)
    except (AssertionError, ClosedError, OSError) as error:
        where = traceback.extract_tb(error.__traceback__)[-1].line
        msg = f"{case.id} ({case.place}, {case.special}): {error!r} at `{where}`"
        raise CaseError(msg) from error


def _play_on(case: Case, part: Part, variant: str, target: Target, *, by_class: bool) -> None:
    server = target.using(part.config)
    server.clear()
    link = server.connect()
    try:
        talk = Talk(link, is_strict=target.is_strict, by_octet=variant == "octets")
        talk.takes_batches, talk.by_class = target.takes_batches, by_class
        _play_part(part, variant, talk)
    except (CaseError, ClosedError, TimeoutError) as error:
        msg = f"{case.id} ({case.place}, {variant}): {error}"
        raise CaseError(msg) from error
    finally:
        link.close()
    if not part.outcomes:
        return
    try:
        found = server.settled(lambda found: is_count(part, found))
        check_outcomes(part, found, found[-1:] if target.knows_order else found)
    except CaseError as error:
        msg = f"{case.id} ({case.place}, {variant}): {error}"
        raise CaseError(msg) from error


def _play_part(part: Part, variant: str, talk: Talk) -> None:
    """Play the steps of one part on a fresh connection.

    Raises:
        CaseError: a reply is not the one expected.

    """
    bye = BYE if talk.is_strict else BYE_OF_OTHERS
    for step in (GREETING, *_varied(part, variant, bye)):
        if talk.is_over:
            break
        # Who took what was sent has no reason to hang up.
        getattr(talk, step.kind)(BYE if step is bye and talk.was_taken else step)


def _varied(part: Part, variant: str, bye: Step) -> list[Step]:
    steps = list(part.steps)
    if not part.is_open:
        return _glued(steps) if variant == "glued" else steps
    if variant == "tail":
        last = max(number for number, step in enumerate(steps) if step.kind == "send")
        steps[last] = Step("send", steps[last].octets + b"NOOP\r\n")
        steps.append(Step("expect", alternatives=[["250"]]))
    steps += [QUIT, bye]
    return _glued(steps) if variant == "glued" else steps


def _glued(steps: list[Step]) -> list[Step]:
    """Send everything at once, then look at the replies."""
    octets = b"".join(step.octets for step in steps if step.kind == "send")
    rest = [step for step in steps if step.kind != "send"]
    ends = [step for step in rest if step.kind in ("fin", "rst")]
    return [Step("send", octets), *ends, *(step for step in rest if step not in ends)]
