"""Packages of the extras, looked for when they are needed."""

from __future__ import annotations

import shlex
import sys
from importlib.util import find_spec

__all__ = ["MissingExtraError", "has", "need"]


class MissingExtraError(Exception):
    """Packages are missing; the text has the command that installs them for this Python."""

    def __init__(self, what: str, packages: list[str]) -> None:
        names, python = " and ".join(packages), shlex.quote(sys.executable)
        command = f"{python} -m pip install {' '.join(packages)}"
        super().__init__(f"{what} needs {names}: {command}")


def has(package: str) -> bool:
    """Return whether a package is installed, without importing it."""
    return find_spec(package) is not None


def need(what: str, *packages: str) -> None:
    """Raise `MissingExtraError` if packages that `what` needs are not installed."""
    missing = [package for package in packages if not has(package)]
    if missing:
        raise MissingExtraError(what, missing)
