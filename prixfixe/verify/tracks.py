"""Which cases are played one after the other on the same servers, and which beside them.

What a track is does not depend on how many are played at once, so that two runs do the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prixfixe.verify.cases import Case

__all__ = ["MOST", "Track", "tracks_of"]

MOST = 24  # cases of one track; each track starts servers of its own


@dataclass
class Track:
    """Cases that are played in this order on the same servers."""

    name: str
    is_alone: bool
    cases: list[Case] = field(default_factory=list)


def tracks_of(cases: Iterable[Case]) -> list[Track]:
    """Return the tracks: those to be played beside each other, then those to be played alone.

    A case that names no track is one of its own. A long track is cut into several.
    """
    found: dict[tuple[bool, str], list[Case]] = {}
    for one in cases:
        found.setdefault((one.is_alone, one.track or one.id), []).append(one)
    cut = [
        Track(name, is_alone, part)
        for (is_alone, name), whole in found.items()
        for part in _parts(whole)
    ]
    return sorted(cut, key=lambda one: one.is_alone)


def _parts(whole: list[Case]) -> list[list[Case]]:
    """Return about equal parts; neighbours, which are alike, go to different ones."""
    count = -(-len(whole) // MOST)
    return [whole[number::count] for number in range(count)]
