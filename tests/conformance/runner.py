"""Play a case on a target and judge what came back.

Owns: the ways to play a part (variants), matching of replies, the format every reply must have.
Promises: a failure says what was sent, what came back, and what was expected.
Refuses: knowing a server; a `Target` does.
"""

from __future__ import annotations

import re
import traceback
from typing import TYPE_CHECKING, NamedTuple

from tests.conformance import specials
from tests.conformance.script import Part, Step, octets_of
from tests.conformance.targets import NotOfferedError
from tests.conformance.wire import ClosedError

if TYPE_CHECKING:
    from tests.conformance.script import Case
    from tests.conformance.targets import Stored, Target
    from tests.conformance.wire import Link

__all__ = ["CaseError", "check_reply", "play"]

MORE_SECONDS = 0.3  # for a second reply where a case leaves open whether there is one
MAX_REPLY_OCTETS = 512  # RFC 5321 4.5.3.1.5
GREETING = Step("expect", alternatives=[["220"]])
QUIT = Step("send", b"QUIT\r\n")
BYE = Step("expect", alternatives=[["221", "eof"]])
# Others may hang up on what they refused: the answers that the case is about came before.
BYE_OF_OTHERS = Step("expect", alternatives=[["221", "eof"], ["421", "eof"], ["eof"]])
_END_OF_LINE, _END_OF_DATA = re.compile(rb"\r\n"), re.compile(rb"(?:^|\r\n)\.\r\n")
_LINE = re.compile(rb"(\d{3})([ -])([\t -~]*)\r\n")
_ENHANCED = re.compile(rb"([245])\.\d{1,3}\.\d{1,3} ")


class CaseError(AssertionError):
    """The target does not do what the case asks."""


class Answer(NamedTuple):
    """What came for one token: a code, or the end of the connection."""

    code: str
    octets: bytes = b""


def play(case: Case, variant: str, target: Target, *, by_class: bool = False) -> None:
    """Play every part of a dialogue case in one of its variants.

    `by_class` takes any code of the class of the one expected: its first digit is what a client
    must act on (RFC 5321 section 4.2.1).

    Raises:
        CaseError: the target failed the case.
        NotOfferedError: the target has no such configuration, or not the extension.

    """
    target.begin()
    if case.needs:
        _check_offers(case, target)
    for part in case.parts:
        if part.steps and variant in part.variants:
            _play_on(case, part, variant, target, by_class=by_class)
    if case.special and variant == "whole":
        _play_special(case, target)  # The last: what a target cannot show hides no failure.


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
        talk = _Talk(link, is_strict=target.is_strict, by_octet=variant == "octets")
        talk.takes_batches, talk.by_class = target.takes_batches, by_class
        _play_part(part, variant, talk)
    except (CaseError, ClosedError, TimeoutError) as error:
        msg = f"{case.id} ({case.place}, {variant}): {error}"
        raise CaseError(msg) from error
    finally:
        link.close()
    try:
        found = server.settled(lambda found: _is_count(part, found))
        _check_outcomes(part, found, found[-1:] if target.knows_order else found)
    except CaseError as error:
        msg = f"{case.id} ({case.place}, {variant}): {error}"
        raise CaseError(msg) from error


# --- the dialogue


def _play_part(part: Part, variant: str, talk: _Talk) -> None:
    """Play the steps of one part on a fresh connection.

    Raises:
        CaseError: a reply is not the one expected.

    """
    bye = BYE if talk.is_strict else BYE_OF_OTHERS
    for step in (GREETING, *_varied(part, variant, bye)):
        if talk.is_over:
            break
        getattr(talk, step.kind)(step)


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


class _Talk:
    """One connection being played.

    A server that takes no batches is sent a command when the one before was answered, and a
    message as a whole.
    """

    def __init__(self, link: Link, *, is_strict: bool, by_octet: bool) -> None:
        self.link = link
        self.is_strict = is_strict
        self.by_octet = by_octet
        self.takes_batches, self.by_class = True, False
        self.sent = b""
        self.waiting = b""
        self.is_data = False
        self.domain = b""
        self.answers: list[Answer] = []
        self.is_over = False

    def send(self, step: Step) -> None:
        self.sent = step.octets
        self.waiting += step.octets
        if self.takes_batches:
            self._send(len(self.waiting))

    def _send(self, size: int) -> None:
        octets, self.waiting = self.waiting[:size], self.waiting[size:]
        if octets:
            self.link.send(octets, by_octet=self.by_octet)

    def _send_next(self) -> None:
        """Send the next command, or the rest of a message that was asked for."""
        found = (_END_OF_DATA if self.is_data else _END_OF_LINE).search(self.waiting)
        self._send(found.end() if found else len(self.waiting))

    def fin(self, _step: Step) -> None:
        self._send(len(self.waiting))
        self.link.finish()

    def rst(self, _step: Step) -> None:
        self._send(len(self.waiting))
        self.link.reset()
        self.is_over = True

    def expect(self, step: Step) -> None:
        self.answers = []
        left = step.alternatives
        for number in range(max(map(len, left))):
            open_ = [tokens for tokens in left if len(tokens) > number]
            if not open_:
                break
            answer = self._next({tokens[number] for tokens in open_})
            self.answers.append(answer)
            left = [tokens for tokens in open_ if self._matches(tokens[number], answer.code)]
            if not left:
                self._fail(step)
            is_enough = any(len(tokens) == number + 1 for tokens in left)
            if is_enough and (len(left) == 1 or not self.link.has_more(MORE_SECONDS)):
                break
        self.is_over = self.is_over or self.answers[-1].code in ("eof", "fin")

    def _next(self, wanted: set[str]) -> Answer:
        if wanted <= {"eof", "fin", "rest"}:
            self._send(len(self.waiting))
        self._send_next()
        try:
            if wanted <= {"eof", "fin"}:
                return Answer("fin" if self.link.end() else "eof")
            octets = self.link.reply()
            while wanted == {"rest"}:
                self.link.reply()
        except ClosedError as closed:
            return Answer("fin" if closed.is_clean else "eof")
        except AssertionError as error:
            raise CaseError(f"after {_shown(self.sent)}: {error}") from error
        self.is_data = octets[:3] == b"354"
        if not self.domain:
            self.domain = octets[4:].split()[0] if octets[4:].split() else b"?"
        if self.is_strict:
            check_reply(octets, self.domain)
        return Answer(octets[:3].decode("latin-1"), octets)

    def _fail(self, step: Step) -> None:
        wanted = " or ".join(" ".join(tokens) for tokens in step.alternatives)
        came = " ".join(_shown(answer.octets) or answer.code for answer in self.answers)
        raise CaseError(f"after {_shown(self.sent)}: expected {wanted}, came {came}")

    def _matches(self, token: str, code: str) -> bool:
        digits = {one[:1] for one in token.split("/")}
        return _matches(token, code) or (self.by_class and code.isdigit() and code[0] in digits)

    def said(self, step: Step) -> None:
        said = b"".join(answer.octets for answer in self.answers).decode("latin-1")
        if re.search(step.pattern, said) is None:
            raise CaseError(f"after {_shown(self.sent)}: expected /{step.pattern}/ in {said!r}")

    def unsaid(self, step: Step) -> None:
        said = b"".join(answer.octets for answer in self.answers).decode("latin-1")
        if re.search(step.pattern, said) is not None:
            raise CaseError(f"after {_shown(self.sent)}: did not expect /{step.pattern}/: {said!r}")


def _matches(token: str, code: str) -> bool:
    if token in ("eof", "rest"):
        return code in ("eof", "fin")
    return any(
        one == code or (one.endswith("xx") and one[0] == code[:1] and code.isdigit())
        for one in token.split("/")
    )


def _shown(octets: bytes) -> str:
    text = repr(octets)[1:]
    return text if len(text) < 300 else f"{text[:150]}...{text[-140:]}"


def check_reply(octets: bytes, domain: bytes) -> None:
    """Check what holds for every reply: RFC 5321 section 4.2, RFC 2034 section 4.

    Raises:
        CaseError: a line is too long, not printable ASCII, or its codes disagree.

    """
    lines = octets.splitlines(keepends=True)
    codes = set()
    for line in lines:
        match = _LINE.fullmatch(line)
        if match is None or len(line) > MAX_REPLY_OCTETS:
            raise CaseError(f"not a reply line: {_shown(line)}")
        codes.add(match[1])
        _check_enhanced(match, domain, is_multi_line=len(lines) > 1)
    if len(codes) != 1:
        raise CaseError(f"codes differ within a reply: {_shown(octets)}")


def _check_enhanced(match: re.Match[bytes], domain: bytes, *, is_multi_line: bool) -> None:
    code, text = match[1], match[3]
    status = _ENHANCED.match(text)
    is_exempt = code[:1] == b"3" or (code == b"220" and text.startswith(domain))
    # The answers to HELO and EHLO begin with the server's name (RFC 2034 section 4 exempts them).
    is_exempt = is_exempt or (code == b"250" and (is_multi_line or text.startswith(domain)))
    if is_exempt != (status is None):
        raise CaseError(f"enhanced status code {'present' if status else 'missing'}: {match[0]!r}")
    if status is not None and status[1] != code[:1]:
        raise CaseError(f"classes disagree: {match[0]!r}")


# --- the store


def _counts(part: Part) -> set[int] | None:
    texts = part.outcomes.get("stored")
    return {int(one) for one in texts[0].split("/")} if texts else None


def _is_count(part: Part, found: list[Stored]) -> bool:
    counts = _counts(part)
    return counts is None or len(found) in counts


def _check_outcomes(part: Part, found: list[Stored], last: list[Stored]) -> None:
    """Check what is kept; `last` are those that may have been the last."""
    if not _is_count(part, found):
        wanted = part.outcomes["stored"][0]
        raise CaseError(f"expected {wanted} stored, not {len(found)}: {found!r:.300}")
    if last:
        _check_any(part, last)
    for text in part.outcomes.get("absent", ()):
        octets = octets_of(text)
        if any(octets in one.everything for one in found):
            raise CaseError(f"{octets!r} was stored: {found!r:.300}")


def _check_any(part: Part, last: list[Stored]) -> None:
    for one in last:
        try:
            for name in ("sender", "rcpt", "body", "raw"):
                if name in part.outcomes:
                    _check_last(name, part.outcomes[name], one)
        except CaseError:
            if one is last[-1]:
                raise
        else:
            return


def _check_last(name: str, texts: list[str], last: Stored) -> None:
    words = [octets_of(text) for text in texts]
    if name == "raw" and last.raw is None:
        raise NotOfferedError("no trace headers")
    is_right, came = {
        "sender": lambda: (last.is_from(words[0].decode()), last.sender),
        "rcpt": lambda: (last.is_for([one.decode() for one in words]), last.recipients),
        "body": lambda: (last.has_body(b"".join(words)), last.body),
        "raw": lambda: _searched(texts[0], last.raw or b""),
    }[name]()
    if not is_right:
        raise CaseError(f"{name}: expected {texts!r:.300}, stored {came!r:.300}")


def _searched(pattern: str, raw: bytes) -> tuple[bool, str]:
    text = raw.decode("utf-8", "replace")
    return re.search(pattern, text) is not None, text
