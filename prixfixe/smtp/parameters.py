"""ESMTP parameters of MAIL and RCPT: parsed, checked, kept in their own case.

Owns: the grammar of RFC 5321 section 4.1.2 (`esmtp-param`) and the values of SIZE (RFC 1870),
BODY (RFC 6152), SMTPUTF8 (RFC 6531), AUTH (RFC 4954), RET, ENVID, NOTIFY and ORCPT (RFC 3461).
Promises: a parameter that is accepted is recorded as sent; DSN parameters are never acted on.
Refuses: repeated keywords, unknown keywords, values outside their grammar, each with its reply.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from prixfixe.smtp import replies
from prixfixe.smtp.address import NON_ASCII

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from prixfixe.mail.message import Params
    from prixfixe.smtp.replies import Reply

__all__ = ["MAIL_PARAMETERS", "RCPT_PARAMETERS", "ParameterError", "parse_parameters"]

_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([!-<>-~\u00a0-\U0010ffff]+))?")
# RFC 3461 4; what it stands for is printable as well (4.2, 4.4): a CRLF may not hide in it.
_XTEXT = r"(?:[!-*,-<>-~]|\+(?:[2-6][0-9A-F]|7[0-9A-E]))"
# Postfix writes the UTF-8 of an address in xtext (RFC 6533 3 has `\x{}` for that, which is text
# here): nothing is done with it, so mail is not lost for it. Only controls of ASCII are refused.
_WIDE_XTEXT = r"(?:[!-*,-<>-~]|\+(?:[2-689A-F][0-9A-F]|7[0-9A-E]))"
# No octet fits two alternatives: else a value that fails at its end costs two to the power of it.
_ORCPT = re.compile(rf"[A-Za-z0-9-]+;(?:{_WIDE_XTEXT}|[{NON_ASCII}])+")
_WHEN = "SUCCESS|FAILURE|DELAY"


class ParameterError(ValueError):
    """A parameter is refused; `reply` says how."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.wire)
        self.reply = reply


def _matches(pattern: str) -> Callable[[str | None], bool]:
    compiled = re.compile(pattern)
    return lambda value: value is not None and compiled.fullmatch(value) is not None


def _word(pattern: str) -> Callable[[str | None], bool]:
    """Match in any case, of ASCII: else a dotless i would be an I, and a long s an S."""
    return _matches(rf"(?ai:{pattern})")


def _orcpt(value: str | None) -> bool:
    return value is not None and len(value) <= 500 and _ORCPT.fullmatch(value) is not None


MAIL_PARAMETERS: Mapping[str, Callable[[str | None], bool]] = {
    "SIZE": _matches(r"[0-9]{1,20}"),
    "BODY": _word("7BIT|8BITMIME"),
    "SMTPUTF8": lambda value: value is None,
    "AUTH": _matches(rf"<>|{_XTEXT}{{1,500}}"),
    "RET": _word("FULL|HDRS"),
    "ENVID": _matches(rf"(?=.{{1,100}}\Z){_XTEXT}+"),
}
RCPT_PARAMETERS: Mapping[str, Callable[[str | None], bool]] = {
    "NOTIFY": _word(rf"NEVER|(?:{_WHEN})(?:,(?:{_WHEN}))*"),
    "ORCPT": _orcpt,
}


def parse_parameters(text: str, known: Mapping[str, Callable[[str | None], bool]]) -> Params:
    """Parse what follows a path: "" or blanks and parameters between them.

    Raises:
        ParameterError: bad syntax or value (501), unknown keyword (555), repetition (501).

    """
    if not text:
        return ()
    if text[0] != " ":
        raise ParameterError(replies.BAD_PARAMETER)
    found: dict[str, str | None] = {}
    for word in text.split(" "):
        if word:
            name, value = _parse_one(word, known)
            if name in found:
                raise ParameterError(replies.BAD_PARAMETER)
            found[name] = value
    return tuple(found.items())


def _parse_one(
    word: str, known: Mapping[str, Callable[[str | None], bool]]
) -> tuple[str, str | None]:
    match = _PARAMETER.fullmatch(word)
    if match is None:
        raise ParameterError(replies.BAD_PARAMETER)
    name, value = match.group(1).upper(), match.group(2)
    check = known.get(name)
    if check is None:
        raise ParameterError(replies.UNKNOWN_PARAMETER)
    if not check(value):
        raise ParameterError(replies.BAD_PARAMETER)
    return name, value
