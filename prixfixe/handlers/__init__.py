"""aiosmtpd's programming interface on PrixFixe's engine; see docs/handlers.md.

`from prixfixe.handlers import Controller` takes the place of aiosmtpd's. `install()` gives all
controllers of aiosmtpd the same engine.
"""

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
