"""Settings and store for the commands, with the exit codes of their failures.

Owns: reading the process's environment, once.
Promises: a `Failure` carries the exit code and the whole message; `main` prints it.
Refuses: writing to standard output.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prixfixe.settings import Settings
    from prixfixe.stores.base import Reader

__all__ = ["Failure", "complain", "settings", "store_reader"]


class Failure(Exception):  # noqa: N818 - what it is called in the command's words
    """The command cannot go on; `main` says the text and returns the code."""

    def __init__(self, code: int, text: object) -> None:
        super().__init__(str(text))
        self.code = code


def complain(text: object) -> None:
    """Say on standard error what is wrong."""
    print(f"prixfixe: {text}", file=sys.stderr)


def settings() -> Settings:
    """Return the settings of the environment, or fail with 2 and all that is wrong with them."""
    from prixfixe.settings import SettingsError, load  # `version` needs none

    try:
        return load(os.environ)
    except SettingsError as error:
        raise Failure(2, error) from None


@contextmanager
def store_reader() -> Iterator[Reader]:
    """Open the read side of the settings' store; fail with 3, or 1 when it breaks later."""
    from prixfixe.stores.base import StoreError, StoreOpenError
    from prixfixe.stores.registry import open_reader

    url = settings().store
    try:
        reader = open_reader(url)
    except StoreOpenError as error:
        raise Failure(3, error) from None
    try:
        yield reader
    except StoreError as error:
        msg = f"store {url}: {error}"
        raise Failure(1, msg) from error
    finally:
        reader.close()
