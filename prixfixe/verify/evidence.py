"""What was seen in a case that was not passed."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Evidence"]


@dataclass(frozen=True)
class Evidence:
    """What was seen: a transcript, a difference of bytes, a state of the container."""

    kind: str
    text: str
