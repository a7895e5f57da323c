"""Durations as tests write them."""

from __future__ import annotations

from prixfixe.settings.parse import duration
from prixfixe.testing.errors import KitError

__all__ = ["seconds_of"]

_read = duration(0)


def seconds_of(name: str, value: float | str) -> float:
    """Return the seconds of a number or of a text such as "2s". Raises `KitError`."""
    try:
        if isinstance(value, str):
            return _read(value)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0:
            return float(value)
    except ValueError:
        pass
    raise KitError(f"{name}={value!r}: expected seconds, or a text such as '500ms', '2s' or '1m'")
