"""`prixfixe wait`: repeat the check until the server is ready."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from prixfixe.cli.check import CheckError, probe, targets

if TYPE_CHECKING:
    import argparse

__all__ = ["run"]

PAUSE_SECONDS = 0.05


def run(args: argparse.Namespace) -> int:
    """Wait."""
    deadline = time.monotonic() + args.timeout
    reason = CheckError("no time to ask")
    try:
        where = targets(args)
    except CheckError as error:
        print(f"prixfixe: {error}", file=sys.stderr)
        return 1
    while (left := deadline - time.monotonic()) > 0:
        try:
            probe(where, min(left, 5.0))
        except CheckError as error:
            reason = error
            time.sleep(PAUSE_SECONDS)
        else:
            return 0
    print(f"prixfixe: not ready after {args.timeout:g} s: {reason}", file=sys.stderr)
    return 1
