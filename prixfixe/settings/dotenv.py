"""Read a `.env` file, as far as docker compose reads the same values from it.

A line is `NAME=value`, a comment or blank. What compose would expand is rejected: a dollar sign,
and a backslash in double quotes.
"""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["Fault", "parse"]

_NAME = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=", re.ASCII)
_SINGLE = re.compile(r"'([^']*)'")
_DOUBLE = re.compile(r'"([^"]*)"')
_COMMENT = re.compile(r"\s#.*")  # a value may begin with #


class Fault(NamedTuple):
    """A line that cannot be read: its number from 1, its name if any, and what was expected.

    The value is left out because it may be a secret.
    """

    line: int
    name: str
    expected: str

    def __str__(self) -> str:
        name = f" {self.name}:" if self.name else ""
        return f"line {self.line}:{name} expected {self.expected}"


def parse(text: str, prefix: str) -> tuple[dict[str, str], list[Fault]]:
    """Return the variables whose names begin with `prefix`, and the faults of all lines.

    If a name has several lines, the last one counts.
    """
    values: dict[str, str] = {}
    faults: list[Fault] = []
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        stripped, name = line.strip(), ""
        if not stripped or stripped.startswith("#"):
            continue
        try:
            name, raw = _split(stripped)
            if name.startswith(prefix):
                values[name] = _value(raw)
        except ValueError as error:
            faults.append(Fault(number, name, str(error)))
    return values, faults


def _split(line: str) -> tuple[str, str]:
    match = _NAME.match(line)
    if match is None:
        raise ValueError("NAME=value")
    return match[1], line[match.end() :].strip()


def _value(raw: str) -> str:
    """Return a value without its quotes, or an unquoted value without its comment."""
    for quoted in (_SINGLE, _DOUBLE):
        if match := quoted.match(raw):
            if quoted is _DOUBLE and re.search(r"[\\$]", match[1]):
                raise ValueError("single quotes around a value with $ or \\")
            return match[1]
    if raw.startswith(("'", '"')):
        raise ValueError("a closing quote on the same line")
    plain = _COMMENT.sub("", raw).rstrip()
    if "$" in plain:
        raise ValueError("single quotes around a value with $")
    return plain
