"""Packages of the extra `load`, looked for when they are needed."""

from __future__ import annotations

import shlex
import sys
from importlib.util import find_spec

__all__ = ["MissingExtraError", "has", "need"]


class MissingExtraError(Exception):
    """Packages of the extra are not installed."""

    def __init__(self, what: str, packages: list[str]) -> None:
        names, python = " and ".join(packages), shlex.quote(sys.executable)
        command = f"{python} -m pip install {' '.join(packages)}"
        super().__init__(f"{what} needs {names}: {command}")


def has(package: str) -> bool:
    """Tell whether a package is installed, without loading it."""
    return find_spec(package) is not None


def need(what: str, *packages: str) -> None:
    """Raise `MissingExtraError` when packages that `what` needs are not here."""
    missing = [package for package in packages if not has(package)]
    if missing:
        raise MissingExtraError(what, missing)
