"""What an error of the driver or the database means for a message: the kind of a `StoreError`."""

from __future__ import annotations

import asyncpg

from prixfixe.stores.base import StoreError

__all__ = ["FAULTS", "is_passing", "store_error"]

_OF_LINK = (asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
FAULTS = (asyncpg.PostgresError, *_OF_LINK, ValueError)
_FULL = ("53100",)
_OF_A_ROW = ("22", "23", "54")
# Connections that end or cannot be had, a server that starts, stops or became a standby, a
# transaction that met another: the same statement may work in a moment.
_PASSING = ("08", "57", "25006", "40", "53", "55", "58")


def is_passing(error: BaseException) -> bool:
    """Whether the same statement may work in a moment, perhaps on another host."""
    state = getattr(error, "sqlstate", None) or ""
    if isinstance(error, asyncpg.PostgresError):
        return state.startswith(_PASSING) and not state.startswith(_FULL)
    # The driver calls a lost connection an internal error at times; a value is a `ValueError`.
    return isinstance(error, _OF_LINK) and not isinstance(error, ValueError)


def store_error(error: BaseException) -> StoreError:
    """Return what it means; the text is for the log and has no value of a row."""
    state = getattr(error, "sqlstate", None) or ""
    text = f"{type(error).__name__}: {error}"
    if state.startswith(_FULL):
        return StoreError(text, kind="full")
    if state.startswith(_OF_A_ROW) or (isinstance(error, ValueError) and not state):
        # The text may quote what a sender wrote.
        return StoreError(f"{type(error).__name__} {state}".strip(), kind="conflict")
    return StoreError(text)
