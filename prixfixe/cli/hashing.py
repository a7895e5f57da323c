"""`prixfixe hash-password`: hash a password typed at a prompt or piped in."""

from __future__ import annotations

import getpass
import sys
from typing import TYPE_CHECKING

from prixfixe.auth import hash_password
from prixfixe.cli.environment import fail

if TYPE_CHECKING:
    import argparse

__all__ = ["run"]


def run(_args: argparse.Namespace) -> int:
    """Hash."""
    if sys.stdin.isatty():
        password = getpass.getpass("Password: ")
    else:
        password = sys.stdin.readline().removesuffix("\n")
    if not password:
        raise fail(2, "expected a password on standard input")
    print(hash_password(password))
    return 0
