"""Settings and store for the commands, with the exit codes of their failures.

Owns: reading the process's environment, once.
Promises: a `Failure` carries the exit code and the whole message.
Refuses: printing.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from prixfixe.settings import SettingsError, load

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prixfixe.settings import Settings
    from prixfixe.stores.base import Reader

__all__ = ["fail", "settings", "store_reader"]


def fail(code: int, text: object) -> SystemExit:
    """Say why on standard error and return what ends the process with this code."""
    print(f"prixfixe: {text}", file=sys.stderr)
    return SystemExit(code)


def settings() -> Settings:
    """Return the settings of the environment, or end with 2 and all that is wrong with them."""
    try:
        return load(os.environ)
    except SettingsError as error:
        raise fail(2, error) from None


@contextmanager
def store_reader() -> Iterator[Reader]:
    """Open the read side of the settings' store, or end with 3 and the reason."""
    from prixfixe.stores import open_reader
    from prixfixe.stores.base import StoreOpenError

    try:
        reader = open_reader(settings().store)
    except StoreOpenError as error:
        raise fail(3, error) from None
    try:
        yield reader
    finally:
        reader.close()
