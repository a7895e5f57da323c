"""Links and codes of a message."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING

from prixfixe.http.api.mailpit import shown_text
from prixfixe.mail.html_text import read_html

if TYPE_CHECKING:
    from prixfixe.mail.mime import Parsed

__all__ = ["codes", "links"]

_URL = re.compile(r"https?://[^\s<>\"']+", re.IGNORECASE)
_TRAILING = ".,;:!?)]}*_'\""
_NEAR = re.compile(r"code|pin|otp|password|passcode|token|verif|confirm", re.IGNORECASE)
_NEAR_CHARACTERS = 60


class _Hrefs(HTMLParser):
    """Collects the targets of links."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a link."""
        target = dict(attrs).get("href") if tag in ("a", "area") else None
        if target and _URL.match(target.strip()):
            self.found.append(target.strip())


def links(parsed: Parsed) -> list[str]:
    """Return the web links of HTML and text, each once, in their order."""
    hrefs = _Hrefs()
    part = parsed.html()
    hrefs.feed("" if part is None else part.text())
    texts = "\n".join(part.text() for part in parsed.plain_texts())
    written = (found.rstrip(_TRAILING) for found in _URL.findall(texts))
    return list(dict.fromkeys((*hrefs.found, *written)))


def codes(parsed: Parsed, length: int) -> list[str]:
    """Return the codes of so many digits, those beside a word such as "code" first."""
    part = parsed.html()
    words = "" if part is None else read_html(part.text()).text
    text = f"{shown_text(parsed)}\n{words}"
    text = _URL.sub(" ", text)
    found = list(re.finditer(rf"(?<![\w.,-])\d{{{length}}}(?![\w-]|[.,]\d)", text, re.ASCII))
    near = [one[0] for one in found if _NEAR.search(text[: one.start()][-_NEAR_CHARACTERS:])]
    return list(dict.fromkeys((*near, *(one[0] for one in found))))
