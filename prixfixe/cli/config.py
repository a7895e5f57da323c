"""`prixfixe config`: show the settings and where each came from."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from prixfixe.cli.environment import complain, settings
from prixfixe.settings import TABLE, example, plain, show, sources, warnings

if TYPE_CHECKING:
    import argparse

    from prixfixe.settings import Settings

__all__ = ["config"]


def config(args: argparse.Namespace) -> int:
    """Show the settings."""
    if args.example:
        print(example(), end="")
        return 0
    effective, origins = settings(), sources(os.environ, args.from_file)
    print(_as_json(effective, origins) if args.json else _as_table(effective, origins))
    for warning in warnings(os.environ, effective):
        complain(warning)
    return 0


def _as_json(effective: Settings, origins: dict[str, str]) -> str:
    rows = {
        setting.env: {"value": plain(effective, setting), "source": origins[setting.env]}
        for setting in TABLE
    }
    return json.dumps(rows, indent=2)


def _as_table(effective: Settings, origins: dict[str, str]) -> str:
    rows = [(setting.env, show(effective, setting), origins[setting.env]) for setting in TABLE]
    name_width, value_width = (max(len(row[column]) for row in rows) for column in (0, 1))
    return "\n".join(f"{row[0]:<{name_width}}  {row[1]:<{value_width}}  {row[2]}" for row in rows)
