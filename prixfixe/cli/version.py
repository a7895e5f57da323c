"""`prixfixe version`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prixfixe import __version__

if TYPE_CHECKING:
    import argparse

__all__ = ["run"]


def run(_args: argparse.Namespace) -> int:
    """Print the version."""
    print(f"prixfixe {__version__}")
    return 0
