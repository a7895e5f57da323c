"""`prixfixe load`: send many messages to SMTP servers; `prixfixe load report`: show the results."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import replace
from typing import TYPE_CHECKING

import uvloop

from prixfixe.cli.environment import Failure, complain
from prixfixe.cli.load_report import needed, require, show
from prixfixe.load import SCENARIOS, Outcome, Plan, Run
from prixfixe.load import run as carry_out
from prixfixe.load.plan import divided
from prixfixe.load.progress import shown

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

__all__ = ["run"]

EXIT_INTERRUPTED = 130


def run(args: argparse.Namespace) -> int:
    """Send; exit 1 unless every message was answered 250, 130 when it was interrupted."""
    plan = _plan(args)
    _check(plan, args)
    parts = divided(plan, args.targets)
    outcomes = [Outcome() for _ in parts]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        is_whole = runner.run(_carry_out(parts, outcomes))
    runs = [Run.of(*pair) for pair in zip(parts, outcomes, strict=True)]
    show(args, [(one.target, one) for one in runs])
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
    """Return the scenario with what the options change of it."""
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


def _check(plan: Plan, args: argparse.Namespace) -> None:
    """Find out before the load what could not be done in it or after it."""
    if plan.client == "aiosmtplib":
        if plan.is_piped:
            raise Failure(2, "--pipelined: aiosmtplib sends one command at a time")
        require("--client aiosmtplib", "aiosmtplib")
    needed(args)


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
