"""The text of an HTML mail as a reader sees it.

No input raises an error, and time is linear. The result is text and must not be used as markup.
"""

from __future__ import annotations

import re
from html import unescape
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["HtmlText", "read_html", "targets"]

_TAG = re.compile(r"<(/?)([A-Za-z][^\s/>]{0,30})|<!--|<[!?]")
_ATTRIBUTES = re.compile(r"(?:[^\"'<>=]|=(?!\s*[\"'])|=\s*+(?:\"[^\"]*+\"|'[^']*+')|[\"'<])*+>")
_HREF = re.compile(r"\bhref\s*=\s*(?:\"([^\"]*+)\"|'([^']*+)'|([^\s\"'>]++))", re.IGNORECASE)
_BLANKS = re.compile(r"\s+")
_UNSEEN = re.compile("[\u00ad\u034f\u200b\u2060\ufeff]+")
_ENTITY_END = re.compile(r"&[#A-Za-z0-9]{0,32}\Z")
_MAX_FAILURES = 100  # tags whose end cannot be found; each looks through the rest
_MAX_TAG = 64 * 1024  # characters
_PIECE = 64 * 1024  # characters of text that are handled at once

_UNSHOWN = ("script", "style", "title", "noscript", "template", "textarea", "iframe", "object")
_CLOSING = {name: re.compile(rf"</{name}(?=[\s/>]|\Z)", re.IGNORECASE) for name in _UNSHOWN}
_BLOCKS = frozenset(
    [
        "address",
        "article",
        "aside",
        "blockquote",
        "body",
        "br",
        "center",
        "dd",
        "div",
        "dl",
        "dt",
        "fieldset",
        "figcaption",
        "figure",
        "footer",
        "form",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "header",
        "hr",
        "li",
        "main",
        "nav",
        "ol",
        "p",
        "pre",
        "section",
        "table",
        "tbody",
        "tfoot",
        "thead",
        "tr",
        "ul",
    ]
)
_PARAGRAPHS = frozenset(("p", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "ul", "ol"))
_GAPS = {
    **dict.fromkeys(("td", "th", "img", "option"), " "),
    **dict.fromkeys(_BLOCKS, "\n"),
    **dict.fromkeys(_PARAGRAPHS, "\n\n"),
}
_WINDOW = 64 * 1024  # characters that one call searches
_MAX_TAG_START = 40  # characters of what is searched for


class _Writer:
    """Lines of text, with one blank between words and at most one empty line."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._gap = ""  # what stands between what was written and what comes
        self.characters = 0

    def write(self, text: str) -> None:
        """Add words."""
        for at in range(0, len(text), _PIECE):
            self._add(text[at : at + _PIECE])

    def _add(self, text: str) -> None:
        words = _BLANKS.sub(" ", _UNSEEN.sub("", text))
        if words.startswith(" "):
            self.break_line(" ")
        inner = words.strip(" ")
        if not inner:
            return
        if self._pieces:
            self._pieces.append(self._gap)
        self._pieces.append(inner)
        self._gap = " " if words.endswith(" ") else ""
        self.characters += len(inner) + 1

    def break_line(self, gap: str) -> None:
        """Part what comes from what was written, by a blank, a line end or an empty line."""
        if len(gap) > len(self._gap) or (gap > "" and self._gap == " "):
            self._gap = gap

    @property
    def text(self) -> str:
        """What was written."""
        return "".join(self._pieces)


class HtmlText(NamedTuple):
    """The text of a document, and where its links lead, each once, in order."""

    text: str
    links: tuple[str, ...]


def read_html(html: str, *, with_links: bool = False, characters: int | None = None) -> HtmlText:
    """Return the text of a document and its links.

    `with_links` puts addresses behind their words. With `characters` it stops soon after so many.
    """
    writer = _Writer()
    links: dict[str, None] = {}
    link = ""
    for text, closes, name, attributes in _events(html):
        writer.write(text)
        if characters is not None and writer.characters >= characters:
            break
        if name == "a":
            if link and with_links:
                writer.write(f" ( {link} )")
            link = "" if closes else _href(attributes)
            if link:
                links[link] = None
        elif gap := _GAPS.get(name):
            writer.break_line(gap)
    return HtmlText(writer.text[:characters], tuple(links))


def targets(html: str) -> Iterator[str]:
    """Yield where the links of a document lead, in order, whatever their scheme."""
    for _, closes, name, attributes in _events(html):
        if name in ("a", "area") and not closes:
            found = _HREF.search(attributes)
            if found is not None:
                yield unescape(found[1] or found[2] or found[3] or "").strip()


def _href(attributes: str) -> str:
    """Return the address of a link, "" for none, or for one that leads nowhere outside."""
    found = _HREF.search(attributes)
    if found is None:
        return ""
    address = unescape(found[1] or found[2] or found[3] or "").strip()
    is_outside = address.lower().startswith(("http:", "https:", "mailto:", "tel:"))
    return address if is_outside else ""


def _events(html: str) -> Iterator[tuple[str, bool, str, str]]:
    """Yield text and the tag that ends it: whether it closes, its name, its attributes."""
    at, failures = 0, 0
    while found := _search(_TAG, html, at):
        end, failures = _after(html, found, failures)
        if end < 0:  # No tag ends from here on.
            break
        name, closes = (found[2] or "").lower(), bool(found[1])
        yield _unescaped(html, at, found.start()), closes, name, html[found.end() : end]
        at = end
        if name in _CLOSING and not closes:
            closing = _search(_CLOSING[name], html, at)
            at = len(html) if closing is None else closing.start()
    yield _unescaped(html, at, len(html)), False, "", ""


def _search(wanted: re.Pattern[str], html: str, at: int) -> re.Match[str] | None:
    """Return the first match from `at` on; each call looks at a window."""
    while at < len(html):
        found = wanted.search(html, at, at + _WINDOW + _MAX_TAG_START)
        if found is not None:
            return found
        at += _WINDOW
    return None


def _after(html: str, found: re.Match[str], failures: int) -> tuple[int, int]:
    """Return where a tag or a comment ends, -1 for one that is text, and how many failed."""
    if found[0] == "<!--":
        end = html.find("-->", found.end() - 2)  # `<!-->` is a whole one.
        return (len(html) if end < 0 else end + 3), failures
    if found[2] and failures < _MAX_FAILURES:
        end_found = _ATTRIBUTES.match(html, found.end(), found.end() + _MAX_TAG)
        if end_found is not None:
            return end_found.end(), failures
        failures += 1
    end = html.find(">", found.end())
    return (end + 1 if end >= 0 else -1), failures


def _unescaped(html: str, start: int, end: int) -> str:
    """Return text with its entities, in pieces that part none."""
    if html.find("&", start, end) < 0:
        return html[start:end]
    pieces = []
    while start < end:
        cut = min(start + _PIECE, end)
        if cut < end and (entity := _ENTITY_END.search(html, cut - 40, cut)):
            cut = entity.start()
        pieces.append(unescape(html[start:cut]))
        start = cut
    return "".join(pieces)
