"""One connection of a part: send its steps, match the replies, and check the format of each reply.

A failure says what was sent, what was expected and what came. `runner` chooses the variant, and
`outcomes` looks at the store.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from prixfixe.verify.dialogue.outcomes import CaseError
from prixfixe.verify.dialogue.wire import ClosedError

if TYPE_CHECKING:
    from prixfixe.verify.dialogue.script import Step
    from prixfixe.verify.dialogue.wire import Link

__all__ = ["Talk", "check_reply"]

MORE_SECONDS = 0.3  # for a second reply where a case leaves open whether there is one
MAX_REPLY_OCTETS = 512  # RFC 5321 4.5.3.1.5
_END_OF_LINE, _END_OF_DATA = re.compile(rb"\r\n"), re.compile(rb"(?:^|\r\n)\.\r\n")
_LINE = re.compile(rb"(\d{3})([ -])([\t -~]*)\r\n")
_ENHANCED = re.compile(rb"([245])\.\d{1,3}\.\d{1,3} ")


class Answer(NamedTuple):
    """What came for one token: a code, or the end of the connection."""

    code: str
    octets: bytes = b""


class Talk:
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

    @property
    def was_taken(self) -> bool:
        """Whether the last answer was a good one."""
        return bool(self.answers) and self.answers[-1].code[:1] == "2"

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
