"""`prixfixe show`: print one message as a file, octet for octet."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from prixfixe.cli.environment import fail, store_reader
from prixfixe.message import render
from prixfixe.stores.base import DamagedError

if TYPE_CHECKING:
    import argparse

__all__ = ["run"]


def run(args: argparse.Namespace) -> int:
    """Show."""
    with store_reader() as reader:
        wanted = args.id
        if wanted == "latest":
            wanted = next(iter(reader.ids(0, 1)), "latest")
        try:
            message = reader.get(wanted)
        except DamagedError as error:
            raise fail(1, error) from None
        if message is None:
            raise fail(1, f"no message {args.id!r} in this store")
        sys.stdout.buffer.write(render(message))
        sys.stdout.buffer.flush()
    return 0
