"""Judge the parsers of paths and parameters on any text, for the fuzz targets and property tests.

A broken invariant is an AssertionError that names it. A mailbox is judged by reading it once by
RFC 5321 section 4.1.2, independently of the parser.
"""

from __future__ import annotations

import re
import string

from prixfixe.smtp.address import AddressError, parse_path
from prixfixe.smtp.parameters import (
    MAIL_PARAMETERS,
    RCPT_PARAMETERS,
    ParameterError,
    parse_parameters,
)

__all__ = ["CONTROL", "is_mailbox", "judge_parameters", "judge_path"]

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_NAME = {*string.ascii_letters, *string.digits, "-", "_"}
_ATOM = _NAME | set("!#$%&'*+/=?^_`{|}~")
_LITERAL = re.compile(r"\[(\d{1,3}(\.\d{1,3}){3}|IPv6:[0-9a-f:.]+)\]", re.ASCII | re.IGNORECASE)


def judge_path(text: str) -> None:
    """A path is refused, or its mailbox is one, is what was sent, and is read so again."""
    try:
        mailbox, rest = parse_path(text)
    except AddressError:
        return
    assert text.endswith(f"{mailbox}>{rest}"), "the mailbox was changed"
    assert not CONTROL.search(mailbox), "a control character in a mailbox"
    is_exempt = mailbox == "" or mailbox.lower() == "postmaster"
    assert is_exempt or is_mailbox(mailbox), f"{mailbox!r} is no mailbox"
    assert parse_path(f"<{mailbox}>{rest}") == (mailbox, rest), "read differently the second time"


def judge_parameters(text: str) -> None:
    """Parameters are refused, or recorded as sent, each once, in order."""
    for known in (MAIL_PARAMETERS, RCPT_PARAMETERS):
        try:
            found = parse_parameters(text, known)
        except ParameterError:
            continue
        words = [name if value is None else f"{name}={value}" for name, value in found]
        sent = [word.partition("=") for word in text.split(" ") if word]
        assert words == [name.upper() + equals + value for name, equals, value in sent], "changed"
        assert len({name for name, _ in found}) == len(found), "one keyword twice"
        assert not any(map(CONTROL.search, words)), "a control character"


def is_mailbox(text: str) -> bool:
    """Judge a mailbox by reading it once from left to right."""
    local, domain = _split_quoted(text) if text[:1] == '"' else text.rpartition("@")[::2]
    if not local or "@" + domain != text[len(local) :]:
        return False
    if local[0] != '"' and not all(_consists(atom, _ATOM) for atom in local.split(".")):
        return False
    return len(text.encode()) <= 978 and _is_domain(domain)


def _is_unicode(character: str) -> bool:
    return character >= "\u00a0" and not CONTROL.match(character)


def _consists(text: str, allowed: set[str]) -> bool:
    return text != "" and all(one in allowed or _is_unicode(one) for one in text)


def _split_quoted(text: str) -> tuple[str, str]:
    """Return the quoted part and the domain; "" and "" when there is none."""
    at = 1
    while at < len(text) and text[at] != '"':
        is_pair = text[at] == "\\"
        at += is_pair
        one = text[at : at + 1]
        if not (" " <= one <= "~" or (_is_unicode(one or " ") and not is_pair)):
            return "", ""
        at += 1
    return (text[: at + 1], text[at + 2 :]) if text[at : at + 2] == '"@' else ("", "")


def _is_domain(domain: str) -> bool:
    if domain[:1] == "[":
        return _LITERAL.fullmatch(domain) is not None
    return all(
        len(label) <= 63 and _consists(label, _NAME) and "-" not in (label[0], label[-1])
        for label in domain.split(".")
    )
