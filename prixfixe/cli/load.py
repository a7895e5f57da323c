"""`prixfixe load`: send many messages to SMTP servers; `prixfixe load report`: show the results."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from prixfixe.cli.arguments import address, mailbox, many, rate, seconds, sizes
from prixfixe.cli.environment import Failure, complain
from prixfixe.load import SCENARIOS, Outcome, Plan, Run
from prixfixe.load import run as carry_out
from prixfixe.load.kept import faults, listing
from prixfixe.load.outcome import merged
from prixfixe.load.plan import CLIENTS, divided
from prixfixe.load.progress import shown
from prixfixe.load.report import as_table
from prixfixe.load.results import FormatError, as_json, read
from prixfixe.runtime.extras import MissingExtraError, need

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["add_load", "add_report", "load", "report"]

EXIT_INTERRUPTED = 130
_PAGE_PACKAGES = ("jinja2", "matplotlib")
_LOAD_EPILOG = """\
Several servers share the messages, the workers and the rate. Ctrl-C ends a run and shows what was
measured. Exit codes: 0 every message was accepted, 1 not every one, 2 wrong usage, 130 interrupted.
--html needs the packages jinja2 and matplotlib, the bar rich: the extra `load`.
See also: prixfixe load report --help."""
_REPORT_EPILOG = """\
Exit codes: 0 done, 1 --kept shows a fault, 2 a file is something else.
--html needs the packages jinja2 and matplotlib: the extra `load`."""
_KEPT = "compare with what `prixfixe messages --json` wrote on that server"


# --- options


def add_load(parser: argparse.ArgumentParser) -> None:
    """Add the options of `prixfixe load`; one that is not given is None."""
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
    add("--kept", action="append", default=[], type=_kept_file, metavar="HOST=FILE", help=_KEPT)
    _add_forms(parser)


def _add_forms(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="as one JSON object, for report")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page with plots as well")


def _kept_file(text: str) -> tuple[str, Path]:
    host, equals, file = text.partition("=")
    if not (host and equals and file):
        msg = f"{text!r}: expected HOST=FILE"
        raise argparse.ArgumentTypeError(msg)
    return host, Path(file)


# --- load


def load(args: argparse.Namespace) -> int:
    """Send; exit 1 unless every message was answered 250, 130 when it was interrupted."""
    plan = _plan(args)
    _check_options(plan, args)
    parts = divided(plan, args.targets)
    outcomes = [Outcome() for _ in parts]
    import uvloop  # `load report` needs nothing installed

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        is_whole = runner.run(_carry_out(parts, outcomes))
    runs = [Run.of(*pair) for pair in zip(parts, outcomes, strict=True)]
    _show(args, [(one.target, one) for one in runs])
    _tell_unreached(runs)
    if not is_whole:
        return EXIT_INTERRUPTED
    return 0 if sum(one.accepted for one in outcomes) == plan.messages else 1


def _tell_unreached(runs: Sequence[Run]) -> None:
    """Name the servers that answered no message at all, with the reasons."""
    for one in runs:
        if one.outcome.errors and not one.outcome.codes.total():
            why = ", ".join(sorted(one.outcome.errors))
            complain(f"{one.target}: no message was answered: {why}")


def _plan(args: argparse.Namespace) -> Plan:
    """Return the plan of the scenario, changed by the options."""
    plan = SCENARIOS[args.scenario] if args.scenario else Plan()
    given = {"messages": args.messages, "workers": args.workers, "sizes": args.size}
    given["rate"] = args.rate
    plan = replace(plan, **{name: value for name, value in given.items() if value is not None})
    return replace(
        plan,
        workers=min(plan.workers, plan.messages),
        is_own=args.own,
        is_piped=args.pipelined,
        starttls=args.starttls,
        login=_login(args.user),
        sender=args.sender,
        recipient=args.recipient,
        timeout=args.timeout,
        client=args.client,
    )


def _login(user: str | None) -> tuple[str, str] | None:
    if user is None:
        return None
    password = os.environ.get("LOAD_PASSWORD")
    if password is None:
        raise Failure(2, "--user: expected its password in the variable LOAD_PASSWORD")
    return user, password


def _check_options(plan: Plan, args: argparse.Namespace) -> None:
    """Fail with 2 if the load or its report could not be made."""
    if plan.client == "aiosmtplib":
        if plan.is_piped:
            raise Failure(2, "--pipelined: aiosmtplib sends one command at a time")
        _require("--client aiosmtplib", "aiosmtplib")
    _check_page(args)


async def _carry_out(parts: Sequence[Plan], outcomes: Sequence[Outcome]) -> bool:
    """Carry out all parts at once; return False when a signal ended them early."""
    pairs = zip(parts, outcomes, strict=True)
    working = asyncio.gather(*(carry_out(part, outcome=outcome) for part, outcome in pairs))
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, working.cancel)
    async with shown(outcomes, sum(part.messages for part in parts)):
        try:
            await working
        except asyncio.CancelledError:
            return False
    return True


# --- report


def report(args: argparse.Namespace) -> int:
    """Show results; return 1 if a store does not match what was accepted."""
    _check_page(args)
    results = [(name, _read(name)) for name in args.files]
    found = _compared([one for _, runs in results for one in runs], args.kept)
    several = len(results) > 1
    named = [
        (f"{_stem(name)} {one.target}" if several else one.target, one)
        for name, runs in results
        for one in runs
    ]
    lines = [(_stem(name), merged(one.outcome for one in runs)) for name, runs in results]
    _show(args, named, lines=lines if several else (), found=found)
    for line in found:
        complain(line)
    return 1 if found else 0


def _check_page(args: argparse.Namespace) -> None:
    """Fail with 2 if the page cannot be made."""
    if args.html is not None:
        _require("--html", *_PAGE_PACKAGES)


def _require(option: str, *packages: str) -> None:
    """Fail with 2 if a package that an option needs is not installed."""
    try:
        need(option, *packages)
    except MissingExtraError as error:
        raise Failure(2, error) from None


def _show(
    args: argparse.Namespace,
    named: Sequence[tuple[str, Run]],
    *,
    lines: Sequence[tuple[str, Outcome]] = (),
    found: Sequence[str] = (),
) -> None:
    """Print runs as the options say, and write the page where they name one."""
    outcomes = [(name, one.outcome) for name, one in named]
    print(as_json([one for _, one in named]) if args.json else as_table(outcomes))
    if args.html is not None:
        from prixfixe.load.page import as_html, told  # slow to load, and of an extra

        facts = told([one for _, one in named])
        page = as_html(outcomes, lines=lines, faults=found, facts=facts)
        args.html.write_text(page, encoding="utf-8")


def _stem(name: str) -> str:
    return Path(name).stem


def _read(name: str) -> list[Run]:
    text = sys.stdin.read() if name == "-" else Path(name).read_text("utf-8", "replace")
    try:
        return read(text)
    except FormatError as error:
        raise Failure(2, f"{name}: expected {error}") from None


def _compared(runs: Sequence[Run], kept: Sequence[tuple[str, Path]]) -> list[str]:
    found: list[str] = []
    for name, file in kept:
        host = name.strip("[]")
        mine = [one for one in runs if one.target.rpartition(":")[0].strip("[]") == host]
        if len(mine) != 1:
            raise Failure(2, f"--kept {host}: expected one run of it, not {len(mine)}")
        try:
            with file.open(encoding="utf-8", errors="replace") as text:
                found += faults(mine[0], listing(text))
        except FormatError as error:
            raise Failure(2, f"{file}: expected {error}") from None
    return found
