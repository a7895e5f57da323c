"""`prixfixe serve`: run the server until a signal; `prixfixe version`: print the version."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from prixfixe import __version__
from prixfixe.cli.environment import settings

if TYPE_CHECKING:
    import argparse

__all__ = ["serve", "version"]


def serve(_args: argparse.Namespace) -> int:
    """Run the server; return its exit code."""
    from prixfixe.settings import warnings  # `version` does not need it

    effective = settings()
    from prixfixe.server.process import serve as run

    return run(effective, warnings(os.environ, effective))


def version(_args: argparse.Namespace) -> int:
    """Print the version."""
    print(f"prixfixe {__version__}")
    return 0
