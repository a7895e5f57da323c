"""`prixfixe serve`: run the server until a signal; `prixfixe version`: print the version."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from prixfixe import __version__
from prixfixe.cli.environment import MAILPIT, settings

if TYPE_CHECKING:
    import argparse

__all__ = ["serve", "version"]


def serve(args: argparse.Namespace) -> int:
    """Run the server; return its exit code."""
    from prixfixe.settings import warnings  # `version` does not need it

    effective = settings()
    from prixfixe.server.process import serve as run

    notes = [*warnings(os.environ, effective), *args.notes]
    return run(effective, notes, tells_address=MAILPIT in os.environ)


def version(_args: argparse.Namespace) -> int:
    """Print the version."""
    print(f"prixfixe {__version__}")
    return 0
