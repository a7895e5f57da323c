"""The options of `prixfixe load` and `prixfixe load report`.

Owns: their names, help and readers. Promises: what was not given is None, so that a scenario's
number stays. Refuses: sending and showing; see `load` and `load_report`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from prixfixe.cli.arguments import address, mailbox, many, rate, seconds, sizes
from prixfixe.load.plan import CLIENTS, Plan
from prixfixe.load.scenarios import SCENARIOS

__all__ = ["add_load", "add_report"]

_LOAD_EPILOG = """\
Several servers share the messages, the workers and the rate. Ctrl-C ends a run and shows what was
measured. Exit codes: 0 every message was accepted, 1 not every one, 2 wrong usage, 130 interrupted.
--html needs the packages jinja2 and matplotlib, the bar rich: the extra `load`.
See also: prixfixe load report --help."""
_REPORT_EPILOG = """\
Exit codes: 0 done, 1 --kept shows a fault, 2 a file is something else.
--html needs the packages jinja2 and matplotlib: the extra `load`."""
_KEPT = "compare with what `prixfixe messages --json` wrote on that server"


def add_load(parser: argparse.ArgumentParser) -> None:
    """Add the options of `prixfixe load`."""
    default, add = Plan(), parser.add_argument
    parser.epilog, parser.usage = _LOAD_EPILOG, "%(prog)s HOST:PORT... [OPTION...]"
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add("targets", nargs="+", type=address, metavar="HOST:PORT", help="any SMTP server")
    add("--scenario", choices=tuple(SCENARIOS), help="numbers that other options then change")
    add("--messages", type=many, metavar="N", help=f"in all (default: {default.messages})")
    add("--workers", type=many, metavar="N", help=f"connections (default: {default.workers})")
    add("--size", type=sizes, metavar="S", help="as 10KiB, or a mix: 1KiB,1MiB (default: 1KiB)")
    add("--rate", type=rate, metavar="R", help="messages a second, by the clock (an open loop)")
    add("--own", action="store_true", help="a connection of its own for each message")
    add("--pipelined", action="store_true", help="send MAIL, RCPT and DATA together")
    add("--starttls", action="store_true", help="go into TLS, whatever the certificate")
    add("--user", metavar="NAME", help="log in; the password is in the variable LOAD_PASSWORD")
    add("--from", dest="sender", type=mailbox, default=default.sender, metavar="ADDRESS")
    add("--to", dest="recipient", type=mailbox, default=default.recipient, metavar="ADDRESS")
    add("--timeout", type=seconds, default=default.timeout, metavar="S", help="for an answer (60)")
    add("--client", choices=CLIENTS, default=default.client, help="which one sends (ours)")
    _add_forms(parser)


def add_report(parser: argparse.ArgumentParser) -> None:
    """Add the options of `prixfixe load report`."""
    parser.epilog = _REPORT_EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("files", nargs="+", metavar="FILE", help="what `prixfixe load --json` wrote; - for input")
    add("--kept", action="append", default=[], type=_kept, metavar="HOST=FILE", help=_KEPT)
    _add_forms(parser)


def _add_forms(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="as one JSON object, for report")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page with plots as well")


def _kept(text: str) -> tuple[str, Path]:
    host, equals, file = text.partition("=")
    if not (host and equals and file):
        msg = f"{text!r}: expected HOST=FILE"
        raise argparse.ArgumentTypeError(msg)
    return host, Path(file)
