"""Address lists (RFC 5322 section 3.4, its obsolete forms, RFC 6532), read leniently.

Nothing a sender wrote is dropped: what cannot be read as an address is a name without one.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from prixfixe.mail.words import decode_words, word_end

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Address", "read_addresses"]

MAX_TOKENS = 1000  # of one address; more is text
_TOKEN = re.compile(
    r"""(?P<blank>[ \t\r\n]++)
    |"(?P<quoted>(?:[^"\\]|\\.)*+)"(?![^\s,;:<@(.)>])
    |(?P<literal>\[[^\[\]\\\s]*+\])
    |(?P<atom>[^\s"(),:;<>@.\[\]\\=]++|=)
    |(?P<special>.)""",
    re.VERBOSE | re.DOTALL,
)
_SIMPLE = re.compile(
    r"""\s*+(?:(?P<box>[^\s"(),:;<>@\[\]\\=]++@[^\s"(),:;<>@\[\]\\]++)
    |(?P<name>[^"(),:;<>@\[\]\\=]*+)<(?P<angle>[^\s"(),:;<>@\[\]\\]++@[^\s"(),:;<>@\[\]\\]++)>)\s*+
    (?:,|\Z)""",
    re.VERBOSE,
)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_COMMENT_PART = re.compile(r"\\.|[()]", re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")


class Address(NamedTuple):
    """A display name, decoded, and a mailbox; "" for what is not written or cannot be read."""

    name: str
    address: str


class _Token(NamedTuple):
    """A piece of an address; `text` is as it is written, `shown` as a name shows it."""

    kind: str
    text: str
    shown: str


def read_addresses(text: str) -> Iterator[Address]:
    """Yield the mailboxes of an unfolded field in order; members of groups stand for themselves."""
    at = 0
    while found := _SIMPLE.match(text, at):  # most of all mail
        yield Address(_plain(found["name"] or ""), found["box"] or found["angle"])
        at = found.end()
        if at >= len(text):
            return
    waiting: list[_Token] = []
    for member in _members(_tokens(text, at)):
        tokens = member
        if waiting and _is_rest_of_a_name(tokens):
            tokens = [*waiting, _Token("special", ",", ","), *tokens]
            waiting = []
        yield from _read(waiting)
        waiting = [] if _has_mailbox(tokens) else tokens
        if not waiting:
            yield from _read(tokens)
    yield from _read(waiting)


def _tokens(text: str, at: int) -> Iterator[_Token]:
    """Yield the pieces of a field; comments are pieces, encoded words are too."""
    has_comments = True
    while at < len(text):
        end = word_end(text, at) if text.startswith("=?", at) else -1
        kind, shown = "atom", ""
        if text[at] == "(" and has_comments:
            kind, end = "comment", _comment_end(text, at)
            has_comments = end > 0  # One that is not closed is text, and so are all after it.
        if end < 0:
            found = _TOKEN.match(text, at)
            if found is None or found.lastgroup is None:  # Any character is a piece.
                return
            kind, end = found.lastgroup, found.end()
            shown = _ESCAPED.sub(r"\1", found["quoted"]) if kind == "quoted" else ""
        written = text[at:end]
        yield _Token(kind, written, shown if kind == "quoted" else written)
        at = end


def _comment_end(text: str, at: int) -> int:
    """Return where the comment at `at` ends, -1 when it is not closed."""
    depth = 0
    for part in _COMMENT_PART.finditer(text, at):
        depth += {"(": 1, ")": -1}.get(part[0], 0)
        if depth == 0:
            return part.end()
    return -1


def _members(tokens: Iterator[_Token]) -> Iterator[list[_Token]]:
    """Yield the pieces of each address: a comma or a semicolon parts them, a colon ends a name.

    In a source route (RFC 5322 4.4) commas part nothing: `<@relay,@other:box@domain>`.
    """
    member: list[_Token] = []
    last, has_mailbox, is_route = "", False, False
    for token in tokens:
        special = token.text if token.kind == "special" else ""
        if special == ":" and not has_mailbox:
            member = []  # A group's name; its members follow.
        elif special == ";" or (special == "," and not is_route):
            yield member
            member, has_mailbox, is_route = [], False, False
        else:
            member = [_merged(member)] if len(member) >= MAX_TOKENS else member
            member.append(token)
            has_mailbox = has_mailbox or special in {"<", "@"}
            is_route = (is_route or (last == "<" and special == "@")) and special not in {">", ":"}
        last = last if token.kind == "blank" else special
    yield member


def _merged(tokens: list[_Token]) -> _Token:
    """Return many pieces as one, which is text."""
    return _Token("atom", _written(tokens), "".join(token.shown for token in tokens))


def _has_mailbox(tokens: list[_Token]) -> bool:
    return any(token.kind == "special" and token.text in "<@" for token in tokens)


def _is_rest_of_a_name(tokens: list[_Token]) -> bool:
    """Whether this is a name and a mailbox in brackets, as in `Smith, John <j@x.test>`."""
    names = [token for token in tokens if token.kind not in {"blank", "comment"}]
    is_named = len(names) > 1 and names[0].text != "<"
    return is_named and any(token.text == "<" for token in names)


def _read(tokens: list[_Token]) -> Iterator[Address]:
    """Yield what one member says: an address, several without a comma, a name, or nothing."""
    opened = [at for at, one in enumerate(tokens) if one.kind == "special" and one.text == "<"]
    if opened:
        yield from _bracketed(tokens[: opened[0]], tokens[opened[-1] + 1 :])
        return
    words = _words(tokens)
    boxes = [word for word in words if _is_mailbox(word)]
    comment = _comments(tokens) if len(boxes) == 1 else ""
    if not boxes:
        yield from _unread(tokens)
        return
    others = [token for word in words if word not in boxes for token in _spaced(word)]
    name = _name(others) or comment
    for word in boxes:
        yield Address(name, _written(word))
        name = ""


def _bracketed(before: list[_Token], after: list[_Token]) -> Iterator[Address]:
    """Yield the address between brackets; of an unclosed one what looks like it."""
    closed = next((at for at, one in enumerate(after) if one.text == ">"), len(after))
    inside = [token for token in after[:closed] if token.kind not in {"blank", "comment"}]
    colons = [at for at, one in enumerate(inside) if one.text == ":" and one.kind == "special"]
    if colons and inside[0].text == "@":
        inside = inside[colons[-1] + 1 :]
    name = _name(before) or _name(after[closed + 1 :]) or _comments([*before, *after])
    if name or inside:
        yield Address(name, _CONTROL.sub("", _written(inside)))
    elif not any(one.text == ">" for one in after):
        yield from _unread([*before, *after])


def _unread(tokens: list[_Token]) -> Iterator[Address]:
    """Yield what is no address, as text."""
    if text := _plain("".join(token.shown for token in tokens if token.kind != "comment")):
        yield Address(text, "")


def _words(tokens: list[_Token]) -> list[list[_Token]]:
    """Return runs of pieces without a blank between them; blanks around `@` and `.` are none."""
    words: list[list[_Token]] = []
    is_open = False
    for token in tokens:
        if token.kind == "comment":
            continue
        if token.kind == "blank":
            is_open = is_open and bool(words) and words[-1][-1].text in {"@", "."}
            continue
        if not is_open and not (words and token.text in {"@", "."} and _may_go_on(words[-1])):
            words.append([])
        words[-1].append(token)
        is_open = True
    return words


def _may_go_on(word: list[_Token]) -> bool:
    return word[-1].kind in {"atom", "quoted", "literal"}


def _is_mailbox(word: list[_Token]) -> bool:
    """Whether a run of pieces is a local part, `@` and a domain."""
    signs = [at for at, token in enumerate(word) if token.text == "@" and token.kind == "special"]
    others = {one.text for one in word if one.kind == "special"} - {"@", "."}
    return len(signs) == 1 and 0 < signs[0] < len(word) - 1 and not others


def _spaced(word: list[_Token]) -> list[_Token]:
    return [*word, _Token("blank", " ", " ")]


def _written(tokens: list[_Token]) -> str:
    return "".join(token.text for token in tokens)


def _name(tokens: list[_Token]) -> str:
    """Return a name as a reader sees it, "" for none."""
    words = [one for one in tokens if one.kind != "comment"]
    shown = _plain("".join(" " if one.kind == "blank" else one.shown for one in words))
    first = next((one.kind for one in words if one.kind != "blank"), "")
    # A quote that is not closed is a piece of its own.
    return shown if first == "quoted" else shown.removeprefix('"').strip()


def _comments(tokens: list[_Token]) -> str:
    """Return the first comment: where old mail has the name."""
    first = next((token.text for token in tokens if token.kind == "comment"), "")
    return _plain(_ESCAPED.sub(r"\1", first[1:-1]))


def _plain(text: str) -> str:
    return _CONTROL.sub(" ", decode_words(text)).strip()
