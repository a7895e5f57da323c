"""`prixfixe check`, the health probe of the image, and `prixfixe wait`, which repeats it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prixfixe.cli.environment import Failure, settings
from prixfixe.cli.probe import CheckError, Targets, probe, unheard

if TYPE_CHECKING:
    import argparse

__all__ = ["run", "targets"]


def targets(args: argparse.Namespace) -> Targets:
    """Return where to ask: the arguments' addresses, or the settings' own.

    Naming only an SMTP address asks no HTTP: the settings' may be of another server.
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


def run(args: argparse.Namespace) -> int:
    """Probe once."""
    try:
        probe(targets(args), args.timeout, print if args.verbose else unheard)
    except CheckError as error:
        raise Failure(1, error) from None
    return 0
