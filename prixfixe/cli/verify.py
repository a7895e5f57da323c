"""`prixfixe verify`: hold any SMTP server to a contract."""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from prixfixe.cli.arguments import many
from prixfixe.cli.environment import Failure, complain
from prixfixe.runtime.extras import MissingExtraError, need
from prixfixe.verify.cases import LEVELS
from prixfixe.verify.contract import PROFILES, ContractError, load_contract, merged
from prixfixe.verify.groups import all_cases
from prixfixe.verify.interrupts import handle, shielded
from prixfixe.verify.play import EXIT_NOTHING, EXIT_TROUBLE, EXIT_USAGE, Run, chosen
from prixfixe.verify.targets import source_of
from prixfixe.verify.targets.base import EnvironmentFault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prixfixe.verify.cases import Case
    from prixfixe.verify.contract import Contract
    from prixfixe.verify.targets.base import Source

__all__ = ["add_verify", "verify"]

EXIT_INTERRUPTED = 130
JOBS = 6  # most cases wait; what is played does not depend on it
REPORTS = ("html", "json", "junit", "markdown")
_EPILOG = """\
TARGET is docker://IMAGE or a bare image name, compose://FILE#SERVICE, cmd://COMMAND (with {port},
{volume}) or tcp://HOST:PORT. Exit codes: 0 all musts that can be seen hold, 1 one fails, 2 wrong
usage or contract, 3 the environment is at fault (no Docker, no such image), 4 nothing was
verified, 130 interrupted. See docs/verify.md."""


def add_verify(parser: argparse.ArgumentParser) -> None:
    """Add the options of `prixfixe verify`."""
    add = parser.add_argument
    parser.epilog, parser.usage = _EPILOG, "%(prog)s TARGET [OPTION...]"
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add("target", nargs="?", metavar="TARGET", help="see below")
    add("--contract", type=Path, metavar="FILE", help="what the server promises, as TOML")
    add("--profile", choices=PROFILES, help="a contract to begin with")
    add("--level", choices=LEVELS, default="full", help="how much is played (default: full)")
    add("-k", dest="expression", metavar="EXPR", help="only cases like 'PF-DUR or not TLS'")
    add("--report", action="append", default=[], type=_report, metavar="KIND=FILE", help=_KINDS)
    add("--baseline", type=Path, metavar="FILE", help="compare with the JSON report of another run")
    add("--discover", action="store_true", help="print the contract that the server keeps today")
    add("--explain", metavar="ID", help="say what a case asks, and end")
    add("--list", action="store_true", help="list the cases, and end")
    add("--keep", action="store_true", help="leave containers and volumes for a look")
    add("--jobs", type=many, default=JOBS, metavar="N", help=f"servers at a time (default: {JOBS})")
    add("--seed", type=int, default=1, metavar="N", help="of what is random (default: 1)")
    add("--rounds", type=many, default=2, metavar="N", help="of each crash (default: 2)")


_KINDS = f"write a report: {', '.join(REPORTS)}; may be given again"


def _report(text: str) -> tuple[str, Path]:
    kind, found, file = text.partition("=")
    if kind not in REPORTS or not found or not file:
        msg = f"{text!r}: expected KIND=FILE, with one of {', '.join(REPORTS)}"
        raise argparse.ArgumentTypeError(msg)
    return kind, Path(file)


def verify(args: argparse.Namespace) -> int:
    """Play the cases and return the exit code."""
    if not __debug__:
        raise Failure(EXIT_TROUBLE, "python -O removes what verify checks: run it without")
    if args.explain or args.list:
        return _told(args)
    if not args.target:
        raise Failure(EXIT_USAGE, "a target is expected: see prixfixe verify --help")
    with _signals():
        return _guarded(args)


def _guarded(args: argparse.Namespace) -> int:
    try:
        return _verified(args)
    except KeyboardInterrupt:
        complain("interrupted before a case was played")
        return EXIT_INTERRUPTED
    except ContractError as error:
        for fault in error.faults:
            complain(fault)
        return EXIT_USAGE
    except ValueError as error:  # a target, an expression, a baseline
        raise Failure(EXIT_USAGE, error) from error
    except (EnvironmentFault, MissingExtraError) as error:
        raise Failure(EXIT_TROUBLE, error) from error


def _verified(args: argparse.Namespace) -> int:
    need("verify", "jsonschema", "trustme")
    contract = load_contract(args.contract, args.profile)
    cases = chosen(all_cases(), args.level, args.expression)
    before = _baseline(args.baseline)
    if not cases:
        complain(f"no case of level {args.level} fits -k {args.expression!r}")
        return EXIT_NOTHING
    source = source_of(args.target)
    try:
        return _played(args, source, contract, cases, before)
    finally:
        _ignore_signals()
        source.close()


def _played(
    args: argparse.Namespace,
    source: Source,
    contract: Contract,
    cases: list[Case],
    before: dict[str, str],
) -> int:
    from prixfixe.verify.bench import Bench
    from prixfixe.verify.reports.terminal import progress, summary

    if args.keep and hasattr(source, "is_kept"):
        source.is_kept = True
    contract.tables = merged(source.complete(contract), contract.tables)
    with shielded():
        bench = Bench(source, contract, seed=args.seed, rounds=args.rounds)
    try:
        run = Run(bench, args.level, args.jobs)
        with progress(len(cases)) as tell:
            run.play(cases, tell)
        if args.discover:
            from prixfixe.verify.discover import discovered

            print(discovered(run), end="")
        else:
            print(summary(run))
        _write(args, run)
    finally:
        _ignore_signals()
        bench.close()
    is_worse = _compared(run, before)
    if run.is_interrupted:
        return EXIT_INTERRUPTED
    return run.exit_code or int(is_worse)


def _write(args: argparse.Namespace, run: Run) -> None:
    from prixfixe.verify.reports import written

    for kind, path in args.report:
        if kind == "html":
            need("--report html", "jinja2")
        try:
            path.write_text(written(kind, run), encoding="utf-8")
        except OSError as error:
            msg = f"--report {kind}={path}: {error.strerror}"
            raise EnvironmentFault(msg) from error


# --- against another run


def _baseline(path: Path | None) -> dict[str, str]:
    """Return the outcomes of another run by id."""
    if path is None:
        return {}
    try:
        results = json.loads(path.read_text(encoding="utf-8"))["results"]
        return {one["id"]: one["outcome"] for one in results}
    except (OSError, ValueError, KeyError, TypeError) as error:
        msg = f"--baseline {path}: expected a report of prixfixe verify --report json: {error}"
        raise ValueError(msg) from error


def _compared(run: Run, before: dict[str, str]) -> bool:
    """Print what ended otherwise than before; return whether something that passed does no more."""
    changed = [
        (one.case.id, before[one.case.id], str(one.outcome))
        for one in run.results
        if before.get(one.case.id, str(one.outcome)) != str(one.outcome)
    ]
    for name, old, new in changed:
        print(f"{name}: {old} before, {new} now")
    if before and not changed:
        print("no case ended otherwise than before")
    return any(old == "pass" and new == "fail" for _, old, new in changed)


# --- what cases ask


def _told(args: argparse.Namespace) -> int:
    cases = {one.id: one for one in all_cases()}
    if args.explain:
        case = cases.get(args.explain.upper())
        if case is None:
            msg = f"--explain {args.explain}: no such case; prixfixe verify --list has them all"
            raise Failure(EXIT_USAGE, msg)
        print(_explained(case))
        return 0
    for one in cases.values():
        print(f"{one.id:16} {one.severity:6} {one.level:6} {one.title}")
    return 0


def _explained(case: Case) -> str:
    facts = {
        "severity": f"{case.severity}, unless the contract says otherwise",
        "source": case.source,
        "seen by": case.evidence,
        "played at": f"level {case.level} and above",
    }
    lines = [
        f"{case.id}: {case.title}",
        *(f"{name + ':':11}{text}" for name, text in facts.items()),
    ]
    if case.text:
        lines += ["", case.text]
    return "\n".join(lines)


# --- signals


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """End a run by SIGTERM as by Ctrl-C, so that what was made is removed."""
    before = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)}
    for one in before:
        signal.signal(one, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        sys.stdout.flush()


def _ignore_signals() -> None:
    """Clean up to the end."""
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, signal.SIG_IGN)
