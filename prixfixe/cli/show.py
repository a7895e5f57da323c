"""`prixfixe show`: print one message as a file, byte for byte."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from prixfixe.cli.environment import Failure, store_reader
from prixfixe.mail.message import render
from prixfixe.stores.base import DamagedError

if TYPE_CHECKING:
    import argparse

__all__ = ["run"]


def run(args: argparse.Namespace) -> int:
    """Show."""
    with store_reader() as reader:
        newest = reader.ids(0, 1) if args.id == "latest" else ()
        try:
            message = reader.get(newest[0] if newest else args.id)
        except DamagedError as error:
            raise Failure(1, error) from None
    if message is None:
        msg = f"no message {args.id!r} in this store"
        raise Failure(1, msg)
    sys.stdout.buffer.write(render(message))
    return 0
