"""Links and codes of a message, for whoever tests what a mail asks its reader to do.

Entities of HTML are decoded. Time is linear in the text, and the number of candidates is bounded.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING

from prixfixe.mail.html_text import read_html, targets

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["MAX_CANDIDATES", "MAX_CODE_LENGTH", "MIN_CODE_LENGTH", "find_codes", "find_links"]

MAX_CANDIDATES = 1000
MIN_CODE_LENGTH, MAX_CODE_LENGTH = 3, 20
_MAX_LINK = 8192  # characters
_MAX_LINKS = 1024 * 1024  # characters of all links of a message
_MAX_TEXT = 256 * 1024  # characters of each text that are looked at for codes
_URL = re.compile(rf"https?://[^\s<>\"\u201c\u201d]{{1,{_MAX_LINK}}}", re.IGNORECASE)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(?=\S)")
# What leads nowhere a test would go, or would be run.
_NO_LINK = ("mailto:", "tel:", "sms:", "cid:", "data:", "javascript:", "vbscript:", "about:")
_TRAILING = ".,;:!?*'\u2019"
_BRACKETS = {")": "(", "]": "[", "}": "{"}
_NEAR = re.compile(
    r"code|c[oó]d[ei]|kod|passw|passcode|token|verif|confirm|\b(?:pin|otp|tan)\b", re.IGNORECASE
)
_NEAR_BEFORE, _NEAR_AFTER = 60, 40  # characters
_LETTERED = re.compile(r"(?=[A-Z]*[0-9])(?=[0-9]*[A-Z])[A-Z0-9]+")


def find_links(text: str, html: str = "") -> list[str]:
    """Return the links of a message, each once: of its HTML, then those written in its texts.

    A link of HTML may have the scheme of an app. Punctuation behind a written link is no part of
    it. Links of HTML over 8192 characters are left out.
    """
    return list(islice(_bounded(dict.fromkeys(_links(text, html))), MAX_CANDIDATES))


def _bounded(links: Iterable[str]) -> Iterator[str]:
    left = _MAX_LINKS
    for link in links:
        left -= len(link)
        if left < 0:
            return
        yield link


def _links(text: str, html: str) -> Iterator[str]:
    for target in targets(html):
        is_link = _SCHEME.match(target) and len(target) <= _MAX_LINK
        if is_link and not target.lower().startswith(_NO_LINK):
            yield target
    for written in (text, read_html(html).text):
        for found in _URL.finditer(written):
            yield _trimmed(found[0])


def _trimmed(link: str) -> str:
    """Return a written link without what belongs to the sentence around it."""
    closed = {bracket: link.count(bracket) for bracket in _BRACKETS}
    end = len(link)
    while end:
        last = link[end - 1]
        if last in _BRACKETS and link.count(_BRACKETS[last], 0, _MAX_LINK) < closed[last]:
            closed[last] -= 1
        elif last not in _TRAILING:
            break
        end -= 1
    return link[:end]


def find_codes(text: str, html: str = "", subject: str = "", length: int = 6) -> list[str]:
    """Return the codes of so many characters, each once, the most likely first.

    A code is of digits, perhaps in groups or one by one with blanks, or of digits and capital
    letters. Those beside a word such as "code" come first, then those alone on their line. Of
    letters and digits there have to be both, and they have to stand so.
    """
    form = _form(length)
    ranked: list[tuple[int, str]] = []
    for words in (subject, text, read_html(html, characters=_MAX_TEXT).text):
        ranked += islice(_ranked(form, _URL.sub(" ", words[:_MAX_TEXT])), MAX_CANDIDATES)
    ranked.sort(key=lambda pair: pair[0])
    return list(islice(dict.fromkeys(code for _, code in ranked), MAX_CANDIDATES))


def _form(length: int) -> re.Pattern[str]:
    groups = [
        rf"[0-9]{{{size}}}(?:[ -][0-9]{{{size}}}){{{length // size - 1}}}"
        for size in range(1, length // 2 + 1)
        if length % size == 0
    ]
    grouped = rf"(?<![0-9][ -])(?:{'|'.join(groups)})(?![ -][0-9])"
    whole = rf"[A-Z0-9]{{{length}}}"
    return re.compile(rf"(?<![\w.,/-])({whole}|{grouped})(?![\w/-]|[.,][0-9])")


def _ranked(form: re.Pattern[str], words: str) -> Iterator[tuple[int, str]]:
    for found in form.finditer(words):
        code = re.sub(r"[ -]", "", found[1])
        is_near = _is_near(words, found.start(1), found.end(1))
        is_alone = _is_alone(words, found.start(1), found.end(1))
        if not code.isdecimal() and not (_LETTERED.fullmatch(code) and (is_near or is_alone)):
            continue
        yield (0 if is_near else 1 if is_alone else 2), code


def _is_near(words: str, start: int, end: int) -> bool:
    before = words[max(0, start - _NEAR_BEFORE) : start]
    after = words[end : end + _NEAR_AFTER].partition("\n")[0]
    return bool(_NEAR.search(before) or _NEAR.search(after))


def _is_alone(words: str, start: int, end: int) -> bool:
    before, after = words[max(0, start - 2) : start], words[end : end + 2]
    return before.strip(" \t")[-1:] in ("", "\n", "\r") and after.strip(" \t")[:1] in (
        "",
        "\n",
        "\r",
    )
