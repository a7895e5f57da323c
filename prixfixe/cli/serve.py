"""`prixfixe serve`: run the server until a signal; `prixfixe version`: print the version."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from prixfixe.cli.environment import settings
from prixfixe.settings import warnings

if TYPE_CHECKING:
    import argparse

__all__ = ["run"]


def run(_args: argparse.Namespace) -> int:
    """Serve."""
    effective = settings()
    from prixfixe.server.process import serve

    return serve(effective, warnings(os.environ, effective))
