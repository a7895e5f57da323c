"""`prixfixe wait`: repeat the check until the server is ready."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from prixfixe.cli.check import targets
from prixfixe.cli.environment import Failure
from prixfixe.cli.probe import CheckError, probe, unheard

if TYPE_CHECKING:
    import argparse

__all__ = ["run"]

PAUSE_SECONDS = 0.05
# A server that came up mid-probe, or hangs, must not eat all the time there is.
MAX_PROBE_SECONDS = 5.0


def run(args: argparse.Namespace) -> int:
    """Wait."""
    where = targets(args)
    deadline = time.monotonic() + args.timeout
    reason = "no time to ask"
    while (left := deadline - time.monotonic()) > 0:
        try:
            probe(where, min(left, MAX_PROBE_SECONDS), print if args.verbose else unheard)
        except CheckError as error:
            reason = str(error)
            time.sleep(min(PAUSE_SECONDS, left))
        else:
            return 0
    msg = f"not ready after {args.timeout:g} s: {reason}"
    raise Failure(1, msg)
