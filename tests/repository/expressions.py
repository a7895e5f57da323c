"""The expressions of GitHub's workflows, as far as ours use them.

Owns: `${{ }}` in a text, conditions, a path into a context, `==`, `!=`, `&&`, `||`, `!`,
`fromJSON`, `toJSON`, `always()`, `failure()`. Refuses anything else with an error that shows it.
"""

from __future__ import annotations

import json
import re
from typing import Any

__all__ = ["ExpressionError", "evaluate", "holds", "substitute"]

_TOKEN = re.compile(r"\s*(?:('(?:[^']|'')*')|(\d+)|(&&|\|\||[=!]=|[!(),])|([A-Za-z_][\w.-]*))")
_HOLE = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)


class ExpressionError(Exception):
    """Something here does not understand."""


def substitute(value: Any, context: dict[str, Any]) -> Any:
    """Fill every `${{ }}` in a text, or in all texts of a list or mapping."""
    if isinstance(value, dict):
        return {key: substitute(one, context) for key, one in value.items()}
    if isinstance(value, list):
        return [substitute(one, context) for one in value]
    if not isinstance(value, str):
        return value
    if whole := re.fullmatch(r"\s*\$\{\{((?:(?!\}\}).)*)\}\}\s*", value, re.DOTALL):
        return evaluate(whole[1], context)
    return _HOLE.sub(lambda hole: _text(evaluate(hole[1], context)), value)


def holds(condition: Any, context: dict[str, Any], *, has_failed: bool) -> bool:
    """Whether `if:` lets a step or a job run; without a status function only after success."""
    if condition is None:
        return not has_failed
    text = str(condition).removeprefix("${{").removesuffix("}}")
    answer = evaluate(text, context | {"always": True, "failure": has_failed})
    return bool(answer) and (not has_failed or "always()" in text or "failure()" in text)


def evaluate(text: str, context: dict[str, Any]) -> Any:
    """Return what an expression says."""
    return _Parser(text, context).parse()


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else json.dumps(value)


class _Parser:
    """Each method reads one level of precedence, loosest first."""

    def __init__(self, text: str, context: dict[str, Any]) -> None:
        self._text, self._context = text, context
        self._tokens = self._split(text.strip())

    def _split(self, text: str) -> list[str]:
        tokens, at = [], 0
        while at < len(text):
            if not (match := _TOKEN.match(text, at)):
                raise ExpressionError(f"{self._text!r} at {text[at:]!r}")
            tokens.append(match[0].strip())
            at = match.end()
        return tokens[::-1]

    def parse(self) -> Any:
        value = self._either()
        if self._tokens:
            raise ExpressionError(f"{self._text!r} goes on with {self._tokens[-1]!r}")
        return value

    def _either(self) -> Any:
        value = self._both()
        while self._take("||"):
            other = self._both()
            value = value or other
        return value

    def _both(self) -> Any:
        value = self._compared()
        while self._take("&&"):
            other = self._compared()
            value = value and other
        return value

    def _compared(self) -> Any:
        value = self._one()
        if self._take("=="):
            return _text(value) == _text(self._one())
        if self._take("!="):
            return _text(value) != _text(self._one())
        return value

    def _one(self) -> Any:
        if self._take("!"):
            return not self._one()
        if self._take("("):
            value = self._either()
            self._expect(")")
            return value
        word = self._tokens.pop() if self._tokens else ""
        if word.startswith("'"):
            return word[1:-1].replace("''", "'")
        return int(word) if word.isdecimal() else self._named(word)

    def _named(self, word: str) -> Any:
        if not self._take("("):
            return self._looked_up(word)
        if word in ("always", "failure"):
            self._expect(")")
            return self._context[word]
        value = self._either()
        self._expect(")")
        if word == "fromJSON":
            return json.loads(value)
        if word == "toJSON":
            return json.dumps(value)
        raise ExpressionError(f"{self._text!r}: no function {word!r}")

    def _looked_up(self, path: str) -> Any:
        root, *rest = path.split(".")
        if root not in self._context:
            raise ExpressionError(f"{self._text!r}: no context {root!r}")
        value = self._context[root]
        for name in rest:
            value = value.get(name, "") if isinstance(value, dict) else ""
        return value

    def _take(self, token: str) -> bool:
        if self._tokens and self._tokens[-1] == token:
            self._tokens.pop()
            return True
        return False

    def _expect(self, token: str) -> None:
        if not self._take(token):
            raise ExpressionError(f"{self._text!r}: expected {token!r}")
