r"""Dialogue files: what a case sends and what it expects.

A file is parsed into `Case`, `Part` and `Step`, and `runner` plays them. Bytes are sent exactly as
written. An error in a file names its line.

A case begins with `== ID LEVEL CONFIG, SOURCE`, then why it matters, a blank line, and steps:

    C: text        send the line and CRLF; lines that follow each other go in one segment
    C| text        send exactly these bytes
    hello          send EHLO and expect 250
    envelope       send MAIL and RCPT in one segment and expect 250 250
    message        as envelope, then DATA and 354
    S: 250 550/553 expect these replies; 5xx is a class, 450/550 a choice, eof the end, fin a clean
                   end without reset, rest whatever comes up to the end; ` | ` separates whole
                   alternatives
    said: regex    what the replies to the last S look like; `unsaid:` what they do not
    fin, rst       half-close, reset
    -- [CONFIG]    a new connection (of another configuration); expectations below are a new part's
    stored: 1      how many messages the part left; 0/1 is a choice
    sender: rcpt: body: raw: absent:   of the last one stored, if any: the sender, the recipients in
                   order, the body's bytes, a regex on the rendered file, bytes found nowhere
    run: name      a function of `specials` plays this too
    needs: WORD    the case is about this EHLO keyword; a server without it is not judged
    variants: whole octets tail glued  restrict in which ways the part is played

A part that does not end the session ends with QUIT, a lone 221 and the end of the connection, so
that one reply too many or too few is always seen. Escapes: \r \n \t \0 \s (blank) \xHH \\;
{64*a} repeats, {octets 128-255} counts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["CASES", "CONFIGURATIONS", "VARIANTS", "Case", "Part", "Step", "load", "parse"]

CASES = Path(__file__).parent / "cases"
VARIANTS = ("whole", "octets", "tail", "glued")
LEVELS = ("M", "S", "P")
# What the letters of a case's configuration ask; a contract uses the names.
CONFIGURATIONS = {
    "D": "default",
    "Z": "small-size",
    "T": "starttls",
    "R": "tls-required",
    "I": "implicit-tls",
    "A": "auth-in-clear",
    "S": "auth-in-tls",
    "K": "auth-scram",
    "O": "short-idle",
    "L": "bare-lf",
    "E": "full",
    "B": "failing-store",
    "W": "slow-store",
    "J": "some-recipients",
    "U": "no-smtputf8",
    "C": "as-users-run-it",
    "P": "proxy",
}

ENVELOPE = b"MAIL FROM:<a@x.test>\r\nRCPT TO:<b@y.test>\r\n"

_HEAD = re.compile(r"== ([A-Z][A-Z0-9-]*\d\d) ([MSP]) ([A-Z]+), (.+)")
_STEP = re.compile(r"([a-z]+|[CS])(?:([:|]) ?(.*))?")
_ESCAPE = re.compile(rb"\\(x[0-9a-f]{2}|.)", re.DOTALL)
_REPEAT = re.compile(rb"\{(\d+)\*([^{}]*)\}")
_OCTETS = re.compile(rb"\{octets (\d+)-(\d+)\}")
_NAMED = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"0": b"\0", b"s": b" ", b"\\": b"\\"}
_OUTCOMES = ("stored", "sender", "rcpt", "body", "raw", "absent")
# After these a session is not at a command, so that nothing can be appended to what was sent.
_OPEN_ENDS = ("354", "334", "220", "221", "421", "eof", "fin", "rest")


@dataclass(slots=True)
class Step:
    """One move: `send` octets, `expect` replies, `fin`, `rst`, `said` or `unsaid` patterns."""

    kind: str
    octets: bytes = b""
    alternatives: list[list[str]] = field(default_factory=list)
    pattern: str = ""


@dataclass(slots=True)
class Part:
    """One connection: its steps and what must be in the store afterwards."""

    config: str
    steps: list[Step] = field(default_factory=list)
    outcomes: dict[str, list[str]] = field(default_factory=dict)
    variants: tuple[str, ...] = VARIANTS

    @property
    def is_open(self) -> bool:
        """Whether the last replies leave the session at a command."""
        last = next((step for step in reversed(self.steps) if step.kind == "expect"), None)
        if last is None or self.steps[-1].kind in ("fin", "rst"):
            return False
        return all(tokens[-1] not in _OPEN_ENDS for tokens in last.alternatives)


@dataclass(slots=True)
class Case:
    """One row: why it matters and how it is played."""

    id: str
    level: str
    config: str
    source: str
    place: str
    reason: str = ""
    parts: list[Part] = field(default_factory=list)
    special: str = ""
    needs: tuple[str, ...] = ()
    text: str = ""  # the steps as they are in the file

    @property
    def variants(self) -> tuple[str, ...]:
        """In which ways the case can be played."""
        return tuple(
            name
            for name in VARIANTS
            if (self.special and name == "whole")
            or any(part.steps and name in part.variants for part in self.parts)
        )


def octets_of(text: str) -> bytes:
    """Return what a text of a dialogue file stands for."""
    raw = text.encode()
    raw = _OCTETS.sub(lambda m: _escaped(range(int(m[1]), int(m[2]) + 1)), raw)
    count = 1
    while count:  # The innermost first.
        raw, count = _REPEAT.subn(lambda m: m[2] * int(m[1]), raw)
    return _ESCAPE.sub(_unescape, raw)


def _escaped(octets: range) -> bytes:
    return b"".join(b"\\x%02x" % octet for octet in octets)


def _unescape(match: re.Match[bytes]) -> bytes:
    name = match[1]
    if len(name) == 3:
        return bytes([int(name[1:], 16)])
    return _NAMED.get(name, match[0])


class _Reader:
    """Build cases line by line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.cases: list[Case] = []
        self.is_reason = False

    def line(self, number: int, text: str) -> None:
        place = f"{self.path.name}:{number}"
        if text.startswith("== "):
            self._head(place, text)
        elif self.is_reason:
            self._reason(text)
        elif text and not text.startswith("#"):
            self.cases[-1].text += f"{text}\n"
            self._step(place, text)

    def _head(self, place: str, text: str) -> None:
        match = _HEAD.fullmatch(text)
        if match is None or not set(match[3]) <= CONFIGURATIONS.keys():
            msg = f"{place}: expected `== ID LEVEL CONFIG, SOURCE`, not {text!r}"
            raise ValueError(msg)
        case = Case(match[1], match[2], match[3], match[4], place)
        case.parts.append(Part(case.config))
        self.cases.append(case)
        self.is_reason = True

    def _reason(self, text: str) -> None:
        case = self.cases[-1]
        case.reason = f"{case.reason} {text}".strip()
        self.is_reason = bool(text)

    def _step(self, place: str, text: str) -> None:
        case = self.cases[-1]
        if text == "--" or text.startswith("-- "):
            case.parts.append(Part(text[3:].strip() or case.config))
            return
        match = _STEP.fullmatch(text)
        add = getattr(self, f"_add_{match[1]}", None) if match else None
        if match is not None and match[1] in _OUTCOMES:
            case.parts[-1].outcomes.setdefault(match[1], []).append(match[3] or "")
        elif match is None or add is None:
            msg = f"{place}: no such step: {text!r}"
            raise ValueError(msg)
        else:
            add(case, match[2], match[3] or "")

    def _send(self, case: Case, octets: bytes) -> None:
        steps = case.parts[-1].steps
        if steps and steps[-1].kind == "send":
            steps[-1].octets += octets
        else:
            steps.append(Step("send", octets))

    def _expect(self, case: Case, text: str) -> None:
        alternatives = [one.split() for one in text.split(" | ")]
        case.parts[-1].steps.append(Step("expect", alternatives=alternatives))

    def _add_C(self, case: Case, mark: str, text: str) -> None:  # noqa: N802 - the step's name
        self._send(case, octets_of(text) + (b"\r\n" if mark == ":" else b""))

    def _add_S(self, case: Case, _mark: str, text: str) -> None:  # noqa: N802 - the step's name
        self._expect(case, text)

    def _add_hello(self, case: Case, _mark: str, _text: str) -> None:
        self._send(case, b"EHLO c.test\r\n")
        self._expect(case, "250")

    def _add_envelope(self, case: Case, _mark: str, _text: str) -> None:
        self._send(case, ENVELOPE)
        self._expect(case, "250 250")

    def _add_message(self, case: Case, _mark: str, _text: str) -> None:
        self._send(case, ENVELOPE + b"DATA\r\n")
        self._expect(case, "250 250 354")

    def _add_said(self, case: Case, _mark: str, text: str) -> None:
        case.parts[-1].steps.append(Step("said", pattern=text))

    def _add_unsaid(self, case: Case, _mark: str, text: str) -> None:
        case.parts[-1].steps.append(Step("unsaid", pattern=text))

    def _add_fin(self, case: Case, _mark: str, _text: str) -> None:
        case.parts[-1].steps.append(Step("fin"))

    def _add_rst(self, case: Case, _mark: str, _text: str) -> None:
        case.parts[-1].steps.append(Step("rst"))

    def _add_run(self, case: Case, _mark: str, text: str) -> None:
        case.special = text

    def _add_needs(self, case: Case, _mark: str, text: str) -> None:
        case.needs += tuple(text.split())

    def _add_variants(self, case: Case, _mark: str, text: str) -> None:
        case.parts[-1].variants = tuple(text.split())


def parse(path: Path) -> list[Case]:
    """Read one dialogue file.

    Raises:
        ValueError: a line is not part of the format; the text names it.

    """
    reader = _Reader(path)
    # Not splitlines: a dialogue may hold other separators of Unicode.
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
        reader.line(number, line)
    return reader.cases


def load(folder: Path = CASES) -> dict[str, Case]:
    """Read all dialogue files, by id.

    Raises:
        ValueError: a file is wrong or an id is used twice.

    """
    cases: dict[str, Case] = {}
    for path in sorted(folder.glob("*.smtp")):
        for case in parse(path):
            if case.id in cases:
                msg = f"{case.place}: {case.id} is used in {cases[case.id].place} too"
                raise ValueError(msg)
            cases[case.id] = case
    return cases
