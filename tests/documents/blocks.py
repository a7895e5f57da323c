"""Find the commands in the documents, how each is to be run and what it is to print.

A block of `sh`, `console` or `python` is run as it stands, unless a comment above its fence changes
that. A comment that is not known is a ValueError.

    <!-- not run: REASON -->
    <!-- run: in the background until "TEXT" -->    it goes on; the next block waits for the text
    <!-- run: after Ctrl-C -->                      what runs in the background is ended first
    <!-- run: until it is so -->                    again, until it succeeds and prints what is due

In a `console` block `$` begins a command, and what follows is all it prints: `…` is any text within
a line, and on a line of its own any number of lines.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

__all__ = ["DOCUMENTS", "Block", "Step", "blocks", "inline_commands", "is_printed", "named"]

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    str(path.relative_to(ROOT))
    for pattern in ("*.md", "docs/*.md", "deployment/*.md")
    for path in ROOT.glob(pattern)
)

LANGUAGES = ("sh", "console", "python")
# Names that others know a block by, `.ci/run` for one.
NAMES = (
    *("serve", "test", "kit"),
    *("pytest", "faults", "tls", "without pytest", "unittest", "container", "aiosmtplib"),
    *("django", "django mailers", "django tls", "django testcase", "flask", "fastapi"),
)
FENCE = re.compile(
    r"^(?P<comments>(?:<!-- [^\n]* -->\n)*)```(?P<language>\w+)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
PROGRAMS = r"docker|nox|prixfixe|promtool|prometheus|scripts/[\w-]+\.sh|curl|swaks|openssl|python3?"
INLINE = re.compile(rf"`((?:[A-Z_]+=\S+ )*(?:{PROGRAMS})(?: [^`]+))`")


class Step(NamedTuple):
    """A command, and what it is to print; None when that is not shown."""

    command: str
    output: str | None


class Block(NamedTuple):
    """A block of commands, its place in the document, and how to run it."""

    document: str
    line: int
    language: str
    text: str
    why_not: str  # the reason it is not run, or ""
    ready: str  # the text that says it is ready in the background, or ""
    is_after_interrupt: bool
    is_repeated: bool

    @property
    def where(self) -> str:
        """File and line, as editors take them."""
        return f"{self.document}:{self.line}"

    @property
    def steps(self) -> list[Step]:
        """The block as commands: each of a console's, else the whole of it."""
        if self.language != "console":
            return [Step(self.text, None)]
        found = re.split(r"^\$ ", self.text, flags=re.MULTILINE)
        if found[0] or len(found) == 1:
            raise ValueError(f"{self.where}: a console block begins with `$ `")
        return [_step(one) for one in found[1:]]


def _step(text: str) -> Step:
    lines = text.splitlines(keepends=True)
    last = next(n for n, line in enumerate(lines) if not line.endswith("\\\n"))
    return Step("".join(lines[: last + 1]), "".join(lines[last + 1 :]))


def blocks(document: str, text: str) -> list[Block]:
    """Return a document's blocks of commands, in order.

    Raises:
        ValueError: a comment above one begins like a marker and is none.

    """
    return [
        _block(document, text[: match.start("text")].count("\n"), match)
        for match in FENCE.finditer(text)
        if match["language"] in LANGUAGES
    ]


def named(document: str, name: str) -> str:
    """Return the text of the one block of a document that has `<!-- NAME -->` above its fence."""
    found = FENCE.finditer((ROOT / document).read_text())
    [text] = [one["text"] for one in found if f"<!-- {name} -->\n" in one["comments"]]
    return text


def _block(document: str, line: int, match: re.Match[str]) -> Block:
    why_not = ready = ""
    is_after_interrupt = is_repeated = False
    for said in re.findall(r"<!-- (.*) -->", match["comments"]):
        if found := re.fullmatch(r"not run: (.+)", said):
            why_not = found[1]
        elif found := re.fullmatch(r'run: in the background until "(.+)"', said):
            ready = found[1]
        elif said == "run: after Ctrl-C":
            is_after_interrupt = True
        elif said == "run: until it is so":
            is_repeated = True
        elif said not in NAMES:
            raise ValueError(f"{document}:{line}: <!-- {said} --> is no way to run a block")
    return Block(
        document,
        line,
        match["language"],
        match["text"],
        why_not,
        ready,
        is_after_interrupt,
        is_repeated,
    )


def inline_commands(text: str) -> list[str]:
    """Return what the prose quotes as a command with arguments."""
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return [" ".join(found.split()) for found in INLINE.findall(prose)]


def is_printed(expected: str, actual: str) -> bool:
    """Whether a command printed what the document shows."""
    pattern = "".join(
        r"(?:[^\n]*\n)*" if line.strip() == "…" else _line(line) for line in expected.splitlines()
    )
    lines = [line.rstrip() for line in actual.splitlines()]
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in lines)) is not None


def _line(line: str) -> str:
    return r"[^\n]*".join(map(re.escape, line.rstrip().split("…"))) + r"\n"
