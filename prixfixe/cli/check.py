"""`prixfixe check`, the health probe of the image, and `prixfixe wait`, which repeats it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from prixfixe.cli.environment import Failure, settings
from prixfixe.cli.probe import CheckError, Targets, no_output, probe

if TYPE_CHECKING:
    import argparse

__all__ = ["check", "targets", "wait"]

PAUSE_SECONDS = 0.05  # between two probes of `wait`
MAX_PROBE_SECONDS = 5.0  # of one probe of `wait`: a server that hangs must not use all the time


def targets(args: argparse.Namespace) -> Targets:
    """Return the addresses to probe, from the arguments or the settings.

    With an SMTP address alone HTTP is not probed: the settings' may be of another server.
    """
    if args.smtp:
        return Targets(args.smtp, args.http)
    effective = settings()
    http = args.http
    if effective.port == 0 or (http is None and effective.http_port == 0):
        raise Failure(2, "the settings ask for any free port; say which with --smtp and --http")
    if http is None and effective.http_port is not None:
        http = (_reachable(effective.http_bind), effective.http_port)
    smtp = (_reachable(effective.bind), effective.port)
    return Targets(smtp, http, is_here=True, proxies=effective.proxy_protocol)


def _reachable(bind: str) -> str:
    """Return the address at which this machine reaches its own listener."""
    return {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(bind, bind)  # noqa: S104


def check(args: argparse.Namespace) -> int:
    """Probe once."""
    try:
        probe(targets(args), args.timeout, print if args.verbose else no_output)
    except CheckError as error:
        raise Failure(1, error) from None
    return 0


def wait(args: argparse.Namespace) -> int:
    """Probe until the server is ready, or the time is over."""
    where = targets(args)
    deadline = time.monotonic() + args.timeout
    reason = "no time to ask"
    while (left := deadline - time.monotonic()) > 0:
        try:
            probe(where, min(left, MAX_PROBE_SECONDS), print if args.verbose else no_output)
        except CheckError as error:
            reason = str(error)
            time.sleep(min(PAUSE_SECONDS, left))
        else:
            return 0
    msg = f"not ready after {args.timeout:g} s: {reason}"
    raise Failure(1, msg)
