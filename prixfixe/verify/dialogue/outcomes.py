"""Compare the messages that a part left in the store with what its case expects.

The expectations are `stored`, `sender`, `rcpt`, `body`, `raw` and `absent`. A failure is a
`CaseError` that says what was expected and what was found.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from prixfixe.verify.dialogue.script import octets_of
from prixfixe.verify.dialogue.servers import NotOfferedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from prixfixe.verify.dialogue.script import Part
    from prixfixe.verify.dialogue.servers import Stored

__all__ = ["CaseError", "check_outcomes", "is_count"]


class CaseError(AssertionError):
    """The target does not do what the case asks."""


def _counts(part: Part) -> set[int] | None:
    texts = part.outcomes.get("stored")
    return {int(one) for one in texts[0].split("/")} if texts else None


def is_count(part: Part, found: list[Stored]) -> bool:
    """Whether as many messages are kept as the part should leave."""
    counts = _counts(part)
    return counts is None or len(found) in counts


def check_outcomes(part: Part, found: list[Stored], last: list[Stored]) -> None:
    """Check what is kept; `last` are those that may have been the last."""
    if not is_count(part, found):
        wanted = part.outcomes["stored"][0]
        raise CaseError(f"expected {wanted} stored, not {len(found)}: {found!r:.300}")
    if last:
        _check_any(part, last)
    for text in part.outcomes.get("absent", ()):
        octets = octets_of(text)
        if any(octets in one.everything for one in found):
            raise CaseError(f"{octets!r} was stored: {found!r:.300}")


def _check_any(part: Part, last: list[Stored]) -> None:
    for one in last:
        try:
            for name in ("sender", "rcpt", "body", "raw"):
                if name in part.outcomes:
                    _check_last(name, part.outcomes[name], one)
        except CaseError:
            if one is last[-1]:
                raise
        else:
            return


def _check_last(name: str, texts: list[str], last: Stored) -> None:
    words = [octets_of(text) for text in texts]
    if name == "raw" and last.raw is None:
        raise NotOfferedError("no trace headers")
    looked: dict[str, Callable[[], tuple[bool, object]]] = {
        "sender": lambda: (last.is_from(words[0].decode()), last.sender),
        "rcpt": lambda: (last.is_for([one.decode() for one in words]), last.recipients),
        "body": lambda: (last.has_body(b"".join(words)), last.body),
        "raw": lambda: _searched(texts[0], last.raw or b""),
    }
    is_right, came = looked[name]()
    if not is_right:
        raise CaseError(f"{name}: expected {texts!r:.300}, stored {came!r:.300}")


def _searched(pattern: str, raw: bytes) -> tuple[bool, str]:
    text = raw.decode("utf-8", "replace")
    return re.search(pattern, text) is not None, text
