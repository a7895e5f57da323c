"""The kit for authors of tests and of stores; it is in the wheel and not in the image."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prixfixe.testing.attempts import Attempt
    from prixfixe.testing.container import PrixFixeContainer
    from prixfixe.testing.errors import (
        ExtractError,
        KitError,
        MailNotFoundError,
        UnexpectedMailError,
    )
    from prixfixe.testing.faults import Fault
    from prixfixe.testing.inbox import Inbox
    from prixfixe.testing.message import Address, Attachment, Message
    from prixfixe.testing.server import Server

__all__ = [
    "Address",
    "Attachment",
    "Attempt",
    "ExtractError",
    "Fault",
    "Inbox",
    "KitError",
    "MailNotFoundError",
    "Message",
    "PrixFixeContainer",
    "Server",
    "UnexpectedMailError",
]

# Each is imported when it is asked for: pytest imports this package in every run.
_PLACES = {
    **dict.fromkeys(("Address", "Attachment", "Message"), "message"),
    **dict.fromkeys(
        ("ExtractError", "KitError", "MailNotFoundError", "UnexpectedMailError"), "errors"
    ),
    "Attempt": "attempts",
    "Fault": "faults",
    "Inbox": "inbox",
    "PrixFixeContainer": "container",
    "Server": "server",
}

# A failed assertion of the contract shows its values only when pytest rewrites the module, and
# pytest has to be told before the module is imported.
if "pytest" in sys.modules:
    sys.modules["pytest"].register_assert_rewrite("prixfixe.testing.store_contract")


def __getattr__(name: str) -> Any:  # noqa: ANN401 - what the package has
    place = _PLACES.get(name)
    if place is None:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{place}"), name)
