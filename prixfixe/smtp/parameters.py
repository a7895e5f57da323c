"""The ESMTP parameters of MAIL and RCPT (RFC 5321 section 4.1.2): grammar and accepted values.

An accepted parameter is recorded as it was sent. DSN parameters are never acted on.
"""

from __future__ import annotations

import re
from functools import cache, partial
from typing import TYPE_CHECKING

from prixfixe.smtp import replies
from prixfixe.smtp.address import NON_ASCII

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from prixfixe.mail.message import Params
    from prixfixe.smtp.replies import Reply

__all__ = ["MAIL_PARAMETERS", "RCPT_PARAMETERS", "ParameterError", "parse_parameters"]

_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([!-<>-~\u00a0-\U0010ffff]+))?")
# RFC 3461 4. The decoded text must be printable too (4.2, 4.4): xtext cannot hide a CRLF.
_XTEXT = r"(?:[!-*,-<>-~]|\+(?:[2-6][0-9A-F]|7[0-9A-E]))"
# Postfix encodes the UTF-8 of an address as xtext, where RFC 6533 3 has `\x{}`. Both are accepted,
# because nothing is done with the value. Only ASCII control characters are refused.
_WIDE_XTEXT = r"(?:[!-*,-<>-~]|\+(?:[2-689A-F][0-9A-F]|7[0-9A-E]))"
_WHEN = "SUCCESS|FAILURE|DELAY"


class ParameterError(ValueError):
    """A parameter is refused with `reply`."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.wire)
        self.reply = reply


def _matches(pattern: str) -> Callable[[str | None], bool]:
    compiled = cache(partial(re.compile, pattern))  # at first use, which keeps a start short
    return lambda value: value is not None and compiled().fullmatch(value) is not None


def _word(pattern: str) -> Callable[[str | None], bool]:
    """Match in any ASCII case: with Unicode's, a dotless i would be an I, and a long s an S."""
    return _matches(rf"(?ai:{pattern})")


# No byte fits two alternatives: otherwise matching could take exponential time.
_is_orcpt = _matches(rf"[A-Za-z0-9-]+;(?:{_WIDE_XTEXT}|[{NON_ASCII}])+")


def _orcpt(value: str | None) -> bool:
    return value is not None and len(value) <= 500 and _is_orcpt(value)


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
    """Parse the text after a path: "", or parameters that are separated by spaces.

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
