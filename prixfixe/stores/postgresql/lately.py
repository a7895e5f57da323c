"""What was acknowledged last: a new primary lacks some of it if it was promoted though behind."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Lately"]

_MOST = 1000
_SECONDS = 1800.0  # shorter than it is known what was deleted
_LOST = """
SELECT count(*) FROM unnest($1::text[]) u(id)
WHERE NOT EXISTS (SELECT FROM prixfixe_mail m WHERE m.id = u.id)
  AND u.id NOT IN (SELECT id FROM prixfixe_gone)
"""


class Lately:
    """The last messages of this server, and the timeline on which they were acknowledged."""

    def __init__(self) -> None:
        self._ids: deque[tuple[float, str]] = deque(maxlen=_MOST)
        self._timeline = 0

    def note(self, ids: Iterable[str], timeline: int) -> None:
        """Note what was acknowledged."""
        now = time.monotonic()
        self._ids.extend((now, each) for each in ids)
        self._timeline = timeline

    async def lost(self, connection: Any, timeline: int) -> int:  # noqa: ANN401 - the driver's
        """Return how many of them the primary of a higher timeline lacks; they count once."""
        if timeline <= self._timeline:
            return 0
        since = time.monotonic() - _SECONDS
        wanted = [each for at, each in self._ids if at > since]
        count = int(await connection.fetchval(_LOST, wanted)) if wanted else 0
        self._ids.clear()
        self._timeline = timeline
        return count
