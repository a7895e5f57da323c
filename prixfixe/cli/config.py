"""`prixfixe config`: what the settings are and where each came from."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

from prixfixe.cli.environment import settings
from prixfixe.settings import TABLE, example, show, sources, warnings

if TYPE_CHECKING:
    import argparse

__all__ = ["run"]


def run(args: argparse.Namespace) -> int:
    """Show the settings."""
    if args.example:
        print(example(), end="")
        return 0
    effective, origins = settings(), sources(os.environ)
    rows = {setting.env: (show(effective, setting), origins[setting.env]) for setting in TABLE}
    if args.json:
        keyed = {name: {"value": value, "source": source} for name, (value, source) in rows.items()}
        print(json.dumps(keyed, indent=2))
    else:
        width = max(map(len, rows))
        for name, (value, source) in rows.items():
            print(f"{name:<{width}}  {value:<30}  {source}")
    for warning in warnings(os.environ):
        print(f"prixfixe: {warning}", file=sys.stderr)
    return 0
