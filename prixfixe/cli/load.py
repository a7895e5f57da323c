"""`prixfixe load HOST:PORT`: send many messages to any SMTP server and say how it went."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from prixfixe.cli.environment import Failure
from prixfixe.load import Plan, as_json, as_table
from prixfixe.load import run as carry_out

if TYPE_CHECKING:
    import argparse

__all__ = ["run"]


def run(args: argparse.Namespace) -> int:
    """Send; exit 1 unless every message was answered 250."""
    host, port = args.target
    plan = Plan(
        host,
        port,
        messages=args.messages,
        workers=min(args.workers, args.messages),
        sizes=tuple(args.size),
        rate=args.rate,
        is_own=args.own,
        is_piped=args.pipelined,
        starttls=args.starttls,
        login=_login(args.user),
        timeout=args.timeout,
    )
    outcome = asyncio.run(carry_out(plan))
    print(as_json(outcome) if args.json else as_table(outcome))
    return 0 if outcome.accepted == plan.messages else 1


def _login(user: str | None) -> tuple[str, str] | None:
    if user is None:
        return None
    password = os.environ.get("LOAD_PASSWORD")
    if password is None:
        raise Failure(2, "--user: expected its password in the variable LOAD_PASSWORD")
    return user, password
