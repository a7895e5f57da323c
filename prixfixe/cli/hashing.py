"""`prixfixe hash-password`: hash a password typed at a prompt or piped in."""

from __future__ import annotations

import getpass
import sys
from typing import TYPE_CHECKING

from prixfixe.auth.hashes import hash_password
from prixfixe.cli.environment import Failure
from prixfixe.smtp.scram import make_keys

if TYPE_CHECKING:
    import argparse

__all__ = ["hash_typed"]


def hash_typed(args: argparse.Namespace) -> int:
    """Print the hash of a password from the terminal or standard input."""
    password = _ask() if sys.stdin.isatty() else _read()
    if not password:
        raise Failure(2, "expected a password on the first line of standard input")
    try:
        print(make_keys(password) if args.scram else hash_password(password))
    except ValueError as error:
        raise Failure(2, str(error)) from error
    return 0


def _ask() -> str:
    password = getpass.getpass("Password: ")
    if getpass.getpass("Again: ") != password:
        raise Failure(2, "the two passwords differ")
    return password


def _read() -> str:
    try:
        return sys.stdin.buffer.readline().decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise Failure(2, "expected a password in UTF-8") from None
