"""The command line: `prixfixe COMMAND`.

Exit codes: 0 success, 1 the command failed, 2 wrong usage or settings, 3 cannot bind or open the
store. A command imports only what it needs, because `check` runs every few seconds.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING

from prixfixe import __version__
from prixfixe.cli.arguments import address, many, seconds, url
from prixfixe.cli.environment import Failure, complain, take_env_file, take_other_names

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import ModuleType

__all__ = ["main"]

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_INTERRUPTED = 130
_NOT_IN_IMAGE = (
    "the image carries the server and its commands, not this one: install PrixFixe where it is to"
    " run (in a checkout: python3 -m venv .venv && .venv/bin/pip install .)"
)


def _probe_arguments(parser: argparse.ArgumentParser, timeout: float) -> None:
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=timeout,
        metavar="S",
        help=f"in all, as 5, 0.5 or 1m (default: {timeout:g} s)",
    )
    parser.add_argument(
        "--smtp",
        type=address,
        metavar="HOST:PORT",
        help="instead of the settings' address; asks no HTTP unless --http says where",
    )
    parser.add_argument(
        "--http", type=url, metavar="URL", help="http://HOST:PORT instead of the settings'"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="show what the server says")


def _check_arguments(parser: argparse.ArgumentParser) -> None:
    _probe_arguments(parser, 5.0)


def _wait_arguments(parser: argparse.ArgumentParser) -> None:
    _probe_arguments(parser, 30.0)


def _messages_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--to", metavar="ADDRESS", help="only those with this envelope recipient")
    parser.add_argument(
        "--query",
        metavar="QUERY",
        help="only what matches, as in docs/api.md; --query=-to:x where it begins so",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line, with envelope")


def _query_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("query", metavar="QUERY", help="as in docs/api.md; after -- if it has a -")
    parser.add_argument(
        "--http", type=url, metavar="URL", help="http://HOST:PORT instead of the settings'"
    )
    parser.set_defaults(smtp=None)


def _await_arguments(parser: argparse.ArgumentParser) -> None:
    _query_arguments(parser)
    parser.add_argument("--timeout", type=seconds, default=10.0, metavar="SECONDS")
    parser.add_argument("--count", type=many, default=1, metavar="N", help="messages to wait for")


def _show_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", help="a message's id, or latest")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--text", action="store_true", help="only what a reader sees of its body")
    what.add_argument("--part", metavar="N", help="only one part, decoded, such as 2 or 1.2")


def _export_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "path",
        metavar="PATH",
        help="a new file (mbox; - for standard output) or folder (eml, maildir)",
    )
    parser.add_argument("--format", choices=("eml", "mbox", "maildir"), default="eml")


def _backup_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="a new file, or - for standard output")


def _restore_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="what backup wrote, or - for standard input")
    parser.add_argument(
        "--replace", action="store_true", help="move a store that holds mail to NAME.replaced[.N]"
    )
    parser.add_argument(
        "--damaged", action="store_true", help="take a copy with faults too, for what is left of it"
    )


def _migrate_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--from", dest="source", metavar="URL", help="copy what another store has, such as sqlite:x"
    )


def _config_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--example", action="store_true", help="print .env.example instead")
    parser.add_argument("--json", action="store_true", help="as one JSON object")


def _load_arguments(parser: argparse.ArgumentParser) -> None:
    _wheel_module(parser, "load").add_load(parser)


def _load_report_arguments(parser: argparse.ArgumentParser) -> None:
    _wheel_module(parser, "load").add_report(parser)


def _verify_arguments(parser: argparse.ArgumentParser) -> None:
    _wheel_module(parser, "verify").add_verify(parser)


def _wheel_module(parser: argparse.ArgumentParser, name: str) -> ModuleType:
    """Return the module of a command that only the wheel has; exit where it is not."""
    try:
        return import_module(f"prixfixe.cli.{name}")  # slow to import, and only one needs it
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("prixfixe."):
            raise
        parser.error(_NOT_IN_IMAGE)


def _hash_arguments(parser: argparse.ArgumentParser) -> None:
    text = "keys from which SCRAM-SHA-256 works too, once every user has some"
    parser.add_argument("--scram", action="store_true", help=text)


def _no_arguments(_parser: argparse.ArgumentParser) -> None:
    """Add no arguments."""


# name: (help, arguments, module:function from arguments to exit code)
COMMANDS: dict[str, tuple[str, Callable[[argparse.ArgumentParser], None], str]] = {
    "serve": ("run the server (the default)", _no_arguments, "prixfixe.cli.serve:serve"),
    "check": ("probe a running server: exit 0 or 1", _check_arguments, "prixfixe.cli.check:check"),
    "wait": ("wait until a server is ready", _wait_arguments, "prixfixe.cli.check:wait"),
    "messages": (
        "list the messages of a store",
        _messages_arguments,
        "prixfixe.cli.messages:messages",
    ),
    "show": ("print one message as it is", _show_arguments, "prixfixe.cli.show:show"),
    "export": ("copy all messages out", _export_arguments, "prixfixe.cli.export:export"),
    "await": (
        "wait for mail that matches a query",
        _await_arguments,
        "prixfixe.cli.server_requests:await_mail",
    ),
    "delete": (
        "have a running server delete what matches a query",
        _query_arguments,
        "prixfixe.cli.server_requests:delete",
    ),
    "backup": (
        "copy a SQLite store, running or not, to one file and prove it",
        _backup_arguments,
        "prixfixe.cli.backup:backup",
    ),
    "restore": (
        "put what backup wrote in the store's place",
        _restore_arguments,
        "prixfixe.cli.backup:restore",
    ),
    "migrate": (
        "make or update the tables of a postgresql: store",
        _migrate_arguments,
        "prixfixe.cli.migrate:migrate",
    ),
    "config": ("show the effective settings", _config_arguments, "prixfixe.cli.config:config"),
    "hash-password": (
        "hash a password for SMTP_AUTH_USERS",
        _hash_arguments,
        "prixfixe.cli.hashing:hash_typed",
    ),
    "load": ("send many messages to any SMTP server", _load_arguments, "prixfixe.cli.load:load"),
    "load report": (
        "make one table and page of what load --json wrote",
        _load_report_arguments,
        "prixfixe.cli.load:report",
    ),
    "verify": (
        "hold any SMTP server to what it promises",
        _verify_arguments,
        "prixfixe.cli.verify:verify",
    ),
    "version": ("print the version", _no_arguments, "prixfixe.cli.serve:version"),
}

# These commands read settings, and have the option `--env-file`.
READS_SETTINGS = set(COMMANDS) - {"hash-password", "load", "load report", "verify", "version"}

# The output of these commands is useless if it is cut short; the argument is - for standard output.
WHOLE = {"backup": "file", "export": "path"}


def _parser(wanted: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="prixfixe",
        description="A compact SMTP server whose 250 means kept.",
        allow_abbrev=False,
        epilog="Settings come from SMTP_* variables, or from a file with --env-file: see"
        " `prixfixe config --example`.",
    )
    parser.add_argument("--version", action="version", version=f"prixfixe {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    # A command starts faster if it does not make the parsers of all others.
    for name in (wanted,) if wanted in COMMANDS else COMMANDS:
        text, add_arguments, _ = COMMANDS[name]
        command = commands.add_parser(
            name, help=text, description=f"{text[0].upper()}{text[1:]}.", allow_abbrev=False
        )
        if name == wanted:
            add_arguments(command)
            if name in READS_SETTINGS:
                _env_file_argument(command)
    return parser


def _env_file_argument(parser: argparse.ArgumentParser) -> None:
    text = "read settings from a .env file too; the environment's win"
    parser.add_argument("--env-file", metavar="FILE", help=text)


def _arguments(words: list[str]) -> argparse.Namespace:
    if words[:2] == ["load", "report"]:
        words[:2] = ["load report"]
    parser = _parser(next((word for word in words if not word.startswith("-")), ""))
    args, unknown = parser.parse_known_args(words)
    if unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}{_variable(unknown)}")
    if args.command is None:
        parser.error("a command is expected")
    return args


def _variable(unknown: list[str]) -> str:
    """Return a hint if an unknown option has the name of a setting, such as `--port 99`."""
    from prixfixe.settings import PREFIX, TABLE

    names = {setting.env for setting in TABLE}
    for word in unknown:
        meant = word.partition("=")[0].lstrip("-").replace("-", "_").upper().removeprefix(PREFIX)
        if word.startswith("--") and PREFIX + meant in names:
            return f"; settings are variables: set {PREFIX}{meant}"
    return ""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    args = _arguments(list(sys.argv[1:] if argv is None else argv) or ["serve"])
    if _had_no_output() and _must_be_whole(args):
        return _left_by_its_reader(args)
    _accept_all_letters()
    try:
        args.from_file = take_env_file(getattr(args, "env_file", None))
        args.notes = take_other_names(is_server=args.command == "serve")
        code = _run(args)
        sys.stdout.flush()
    except Failure as failure:
        complain(failure)
        return failure.code
    except BrokenPipeError:
        return _left_by_its_reader(args)
    except OSError as error:  # A full disk under an export or a redirected output.
        if args.command == "serve":
            raise
        _forget_output()
        complain(f"{error.filename or 'standard output'}: {error.strerror}")
        return EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    return code


def _run(args: argparse.Namespace) -> int:
    module, _, function = COMMANDS[args.command][2].partition(":")
    code: int = getattr(import_module(module), function)(args)
    return code


def _left_by_its_reader(args: argparse.Namespace) -> int:
    _forget_output()
    if not _must_be_whole(args):  # `prixfixe messages | head`
        return EXIT_OK
    complain("standard output was closed before all was written: what is there is of no use")
    return EXIT_FAILED


def _must_be_whole(args: argparse.Namespace) -> bool:
    return getattr(args, WHOLE.get(args.command, ""), None) == "-"


def _had_no_output() -> bool:
    """Open the standard streams that were closed; return whether standard output was.

    Otherwise the next opened file, such as the store's, would get the number of a stream.
    """
    had_none = sys.stdout is None
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: PTH123, SIM115 - to the end
    return had_none


def _accept_all_letters() -> None:
    """Escape characters that the locale cannot encode, so that none raises an error."""
    _write_all_octets()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _write_all_octets() -> None:
    """Buffer standard output even with PYTHONUNBUFFERED, which ignores partial writes."""
    stream = sys.stdout
    raw = getattr(stream, "buffer", None)
    if isinstance(raw, io.RawIOBase) and sys.stdout is sys.__stdout__:
        sys.stdout = io.TextIOWrapper(io.BufferedWriter(raw), stream.encoding)


def _forget_output() -> None:
    """Replace standard output, so that the interpreter's last flush does not fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
