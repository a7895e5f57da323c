"""aiosmtpd's programming interface on PrixFixe's engine; see docs/handlers.md.

`from prixfixe.handlers import Controller` takes the place of aiosmtpd's. `install()` gives all
controllers of aiosmtpd the same engine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prixfixe.handlers.controller import (
        Controller,
        UnixSocketController,
        UnixSocketUnthreadedController,
        UnthreadedController,
        install,
    )
    from prixfixe.handlers.hooks import UnsupportedError

__all__ = [
    "Controller",
    "UnixSocketController",
    "UnixSocketUnthreadedController",
    "UnsupportedError",
    "UnthreadedController",
    "install",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - PEP 562
    """Import what is asked for: `prixfixe serve` needs no controller."""
    if name not in __all__:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    from prixfixe.handlers import controller, hooks

    return getattr(hooks if name == "UnsupportedError" else controller, name)
