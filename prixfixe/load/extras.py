"""What only the extra `load` brings, asked for when it is needed.

Owns: the words that name it. Promises: whoever imports nothing of it, loads nothing of it.
Refuses: guessing; a missing package is an error that says how to get it.
"""

from __future__ import annotations

from importlib.util import find_spec

__all__ = ["MissingExtraError", "has", "need"]


class MissingExtraError(Exception):
    """A package of the extra is not installed."""

    def __init__(self, what: str, package: str) -> None:
        super().__init__(f"{what} needs {package}: pip install 'prixfixe[load]'")


def has(package: str) -> bool:
    """Tell whether a package is installed, without loading it."""
    return find_spec(package) is not None


def need(what: str, *packages: str) -> None:
    """Raise `MissingExtraError` for the first package that `what` needs and that is not here."""
    for package in packages:
        if not has(package):
            raise MissingExtraError(what, package)
