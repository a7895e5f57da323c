"""Settings and store for the commands, and the exit codes of failures."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prixfixe.settings import Settings
    from prixfixe.stores.base import Reader

__all__ = [
    "Failure",
    "complain",
    "printable",
    "settings",
    "store_reader",
    "take_env_file",
    "take_other_names",
]

MAILPIT = "PRIXFIXE_MAILPIT"  # set in the image that takes Mailpit's variables


class Failure(Exception):  # noqa: N818 - not always an error of the program
    """The command failed; `main` prints the text and returns the exit code."""

    def __init__(self, code: int, text: object) -> None:
        super().__init__(str(text))
        self.code = code


def complain(text: object) -> None:
    """Print an error to standard error."""
    print(f"prixfixe: {text}", file=sys.stderr)


def printable(text: str) -> str:
    """Return a text for one line of a terminal: a space replaces what cannot be printed."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def settings() -> Settings:
    """Return the settings of the environment, or fail with 2 and all problems."""
    from prixfixe.settings import SettingsError, load  # `version` needs none

    try:
        return load(os.environ)
    except SettingsError as error:
        raise Failure(2, error) from None


def take_env_file(path: str | None) -> dict[str, str]:
    """Add a `.env` file's settings to the environment; existing variables win.

    Returns:
        The names that came from the file, each with its path.

    Raises:
        Failure: with 2: the file or a line cannot be read. The text also has the problems of the
            settings that could be read.

    """
    if path is None:
        return {}
    from prixfixe.settings import PREFIX, SettingsError, dotenv, load

    values, faults = dotenv.parse(_env_text(path), PREFIX)
    taken = {name: path for name in values if name not in os.environ}
    os.environ.update({name: values[name] for name in taken})
    if not faults:
        return taken
    lines = [f"  {path} {fault}" for fault in faults]
    try:
        load(os.environ)
    except SettingsError as error:
        lines += str(error).splitlines()[1:]
    raise Failure(2, "\n".join([SettingsError.TITLE, *lines]))


def take_other_names(*, is_server: bool) -> list[str]:
    """Set settings from the variables of another server, where the image is in its place.

    Returns:
        Remarks on variables without effect.

    """
    if not os.environ.get(MAILPIT):
        return []
    from prixfixe.cli.mailpit import take_mailpit
    from prixfixe.settings import SettingsError

    try:
        return take_mailpit(os.environ, is_server=is_server)
    except SettingsError as error:
        raise Failure(2, error) from None


def _env_text(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123 - `version` needs no pathlib
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise Failure(
            2, f"--env-file {path}: expected a file that can be read ({reason})"
        ) from None


@contextmanager
def store_reader() -> Iterator[Reader]:
    """Open a reader of the settings' store; fail with 3, or with 1 if a read fails later."""
    from prixfixe.stores.base import StoreError, StoreOpenError
    from prixfixe.stores.registry import open_reader, shown

    url = settings().store
    try:
        reader = open_reader(url)
    except StoreOpenError as error:
        raise Failure(3, error) from None
    try:
        yield reader
    except StoreError as error:
        msg = f"store {shown(url)}: {error}"
        raise Failure(1, msg) from error
    finally:
        reader.close()
