"""Replies of a handler: checked before they reach the client.

No line has a control character, all lines of a reply have one code, and the code fits the verb.
"""

from __future__ import annotations

import functools
import re

from prixfixe.smtp import replies
from prixfixe.smtp.replies import MAX_OCTETS

__all__ = ["UnfitReply", "reply_of"]

# The lines have no control characters but tab; a client may not be sent CR or LF inside a line.
_LINE = re.compile(r"([1-9][0-9][0-9])(?:([ -])([^\x00-\x08\x0a-\x1f\x7f-\x9f]*))?")
# RFC 5321 section 4.3.2 and RFC 4954; every verb but QUIT may also be refused with 4xx or 5xx.
_POSITIVE = {
    "QUIT": (221,),
    "RCPT": (250, 251),
    "VRFY": (250, 251, 252),
    "AUTH": (235,),
}
_OK = (250,)
_MAX_LINES = 100
_MAX_SHOWN = 200


class UnfitReply(ValueError):  # noqa: N818 - so it is called in the log
    """What a handler returned is no reply to the command."""


def reply_of(verb: str, lines: list[object], *, is_utf8: bool = False) -> replies.Reply:
    """Return the reply that these lines make; `DATA` is the reply after the end of data.

    Args:
        verb: the command that is answered.
        lines: whole lines without CRLF; all but the last have `-` after the code.
        is_utf8: whether the client may be sent UTF-8 (RFC 6531 section 3.7.4); else `?` replaces
            what is not ASCII.

    Raises:
        UnfitReply: the lines are no reply, or none to this verb.

    """
    if len(lines) == 1 and type(lines[0]) is str and len(lines[0]) <= MAX_OCTETS:
        return _reply_of_line(verb, lines[0], is_utf8)
    return _reply_of_lines(verb, lines, is_utf8=is_utf8)


@functools.lru_cache(256)
def _reply_of_line(verb: str, line: str, is_utf8: bool) -> replies.Reply:  # noqa: FBT001
    """Return the reply of one line: a handler says the same few again and again (8 us each)."""
    return _reply_of_lines(verb, [line], is_utf8=is_utf8)


def _reply_of_lines(verb: str, lines: list[object], *, is_utf8: bool) -> replies.Reply:
    if not 0 < len(lines) <= _MAX_LINES:
        msg = f"expected 1 to {_MAX_LINES} lines, got {len(lines)}"
        raise UnfitReply(msg)
    texts = [_text(line) for line in lines]
    codes = {_code(text, is_last=number == len(texts)) for number, text in enumerate(texts, 1)}
    if len(codes) > 1:
        msg = f"expected one code in all lines, got {sorted(codes)}"
        raise UnfitReply(msg)
    code = codes.pop()
    _check_fit(verb, code)
    return replies.of_handler(code, texts, "utf-8" if is_utf8 else "ascii")


def _text(line: object) -> str:
    if isinstance(line, (bytes, bytearray)):
        return line.decode("utf-8", "replace")
    if not isinstance(line, str):
        msg = f"expected text such as '250 OK', got {type(line).__name__}"
        raise UnfitReply(msg)
    return line


def _code(text: str, *, is_last: bool) -> int:
    match = _LINE.fullmatch(text)
    if match is None or (match[2] == "-") is is_last:
        form = "a code and one line of text" if is_last else "a code, a dash and one line of text"
        msg = f"expected {form}, got {text[:_MAX_SHOWN]!r}"
        raise UnfitReply(msg)
    return int(match[1])


def _check_fit(verb: str, code: int) -> None:
    positive = _POSITIVE.get(verb, _OK)
    is_refusal = 400 <= code < 600 and verb != "QUIT"
    if code not in positive and not is_refusal:
        wanted = " or ".join(map(str, positive))
        msg = f"expected {wanted}{'' if verb == 'QUIT' else ', 4xx or 5xx'} for {verb}, got {code}"
        raise UnfitReply(msg)
