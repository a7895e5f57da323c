"""Warnings of the hooks that aiosmtpd is going to remove."""

from __future__ import annotations

import warnings
from typing import Final

__all__ = ["warn_of"]

_OLD: Final = {
    "EHLO": ("handle_EHLO", "ehlo_hook"),
    "RSET": ("handle_RSET", "rset_hook"),
    "DATA": ("handle_DATA", "process_message"),
}


def warn_of(verb: str) -> None:
    """Warn that the old hook of a verb was called."""
    new, old = _OLD[verb]
    msg = f"Use handler.{new}() instead of .{old}()"
    warnings.warn(msg, DeprecationWarning, stacklevel=2)
