"""Parse the output of strace into one record for each system call.

Calls come in the order in which they returned, because only then is their effect certain. A string
that strace cut short is a ValueError.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Call", "parse"]

_LINE = re.compile(r"(\d+) +(.*)")
_RESUMED = re.compile(r"<\.\.\. (\w+) resumed>(.*)")
_CALL = re.compile(r"(\w+)\((.*)\) += (-?\w+)(?: (E\w+))?.*")
_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"(\.\.\.)?')
_UNFINISHED = " <unfinished ...>"


@dataclass(frozen=True)
class Call:
    """One call that returned. `result` is -1 with an `error`, 0 where strace saw no number."""

    task: int
    name: str
    text: str
    result: int
    error: str = ""

    @property
    def strings(self) -> list[bytes]:
        """Return the string arguments, decoded."""
        found = []
        for text, cut in _STRING.findall(self.text):
            if cut:
                raise ValueError(f"{self.name}: strace cut a string short")
            found.append(ast.literal_eval(f'b"{text}"'))
        return found

    @property
    def numbers(self) -> list[int]:
        """Return the arguments that are plain numbers, strings and structures left out."""
        bare = re.sub(r"\{.*\}|\[.*\]", "", _STRING.sub("", self.text))
        return [int(each) for each in re.findall(r"(?<![\w.|])-?\d+(?![\w.|])", bare)]

    @property
    def is_ok(self) -> bool:
        """Whether the call did what it was asked to."""
        return not self.error


def parse(text: str) -> Iterator[Call]:
    """Yield every call that ended."""
    begun: dict[str, str] = {}
    for line in text.splitlines():
        matched = _LINE.fullmatch(line)
        if matched is None:
            continue
        task, rest = matched.groups()
        if rest.endswith(_UNFINISHED):
            begun[task] = rest.removesuffix(_UNFINISHED)
            continue
        resumed = _RESUMED.fullmatch(rest)
        if resumed is not None:
            rest = begun.pop(task, resumed[1] + "(") + resumed[2]
        call = _CALL.fullmatch(rest)
        if call is not None:
            name, arguments, result, error = call.groups()
            yield Call(int(task), name, arguments, _number(result), error or "")


def _number(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:  # "?": the process ended in the call
        return 0
