"""The command line: `prixfixe COMMAND`.

Owns: arguments, the choice of command, and exit codes (0 ok, 1 the check failed, 2 wrong usage or
settings, 3 cannot bind or open the store).
Promises: a command imports only what it needs, since `check` runs every few seconds.
Refuses: doing the work; each command has its module.
"""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING

from prixfixe import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["main"]

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_CANNOT_START = 3


def _serve_arguments(_parser: argparse.ArgumentParser) -> None:
    """`serve` is configured by the environment alone."""


def _probe_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--timeout", type=float, default=5.0, metavar="S", help="seconds in all")
    parser.add_argument("--smtp", metavar="HOST:PORT", help="instead of the settings' address")
    parser.add_argument("--http", metavar="HOST:PORT", help="instead of the settings' address")
    parser.add_argument("-v", "--verbose", action="store_true", help="show each step")


def _wait_arguments(parser: argparse.ArgumentParser) -> None:
    _probe_arguments(parser)
    parser.set_defaults(timeout=30.0)


def _messages_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--to", metavar="ADDRESS", help="only those with this envelope recipient")
    parser.add_argument("--json", action="store_true", help="one JSON object a line, with envelope")


def _show_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", help="a message's id, or latest")


def _export_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="PATH", help="a new file (mbox) or folder (eml, maildir)")
    parser.add_argument("--format", choices=("eml", "mbox", "maildir"), default="eml")


def _config_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--example", action="store_true", help="print .env.example instead")
    parser.add_argument("--json", action="store_true", help="as one JSON object")


def _load_arguments(parser: argparse.ArgumentParser) -> None:
    import_module("prixfixe.load.cli").add_arguments(parser)


def _no_arguments(_parser: argparse.ArgumentParser) -> None:
    """Take none."""


# name: (help, arguments, module with `run(args) -> int`)
COMMANDS: dict[str, tuple[str, Callable[[argparse.ArgumentParser], None], str]] = {
    "serve": ("run the server (the default)", _serve_arguments, "prixfixe.cli.serve"),
    "check": ("probe a running server: exit 0 or 1", _probe_arguments, "prixfixe.cli.check"),
    "wait": ("wait until a server is ready", _wait_arguments, "prixfixe.cli.wait"),
    "messages": ("list the messages of a store", _messages_arguments, "prixfixe.cli.messages"),
    "show": ("print one message as it is", _show_arguments, "prixfixe.cli.show"),
    "export": ("copy all messages out", _export_arguments, "prixfixe.cli.export"),
    "config": ("show the effective settings", _config_arguments, "prixfixe.cli.config"),
    "hash-password": ("hash a password for SMTP_AUTH_USERS", _no_arguments, "prixfixe.cli.hashing"),
    "version": ("print the version", _no_arguments, "prixfixe.cli.version"),
}


def _parser(wanted: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="prixfixe",
        description="A compact SMTP server whose 250 means kept.",
        epilog="Settings come from SMTP_* variables: see `prixfixe config --example`.",
    )
    parser.add_argument("--version", action="version", version=f"prixfixe {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, (text, add_arguments, _) in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text)
        if name == wanted:
            add_arguments(command)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv) or ["serve"]
    parser = _parser(next((word for word in words if not word.startswith("-")), ""))
    args = parser.parse_args(words)
    if args.command is None:
        parser.error("a command is expected")
    try:
        code: int = import_module(COMMANDS[args.command][2]).run(args)
    except BrokenPipeError:  # `prixfixe messages | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
    return code
