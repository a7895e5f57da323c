"""Write the outputs of a workflow step as `name=value` lines, for the steps after it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["hand_on"]


def hand_on(outputs: Mapping[str, str]) -> None:
    """Print `name=value` lines, and append them to the file of GITHUB_OUTPUT where there is one."""
    lines = "".join(f"{name}={value}\n" for name, value in outputs.items())
    print(lines, end="")
    if path := os.environ.get("GITHUB_OUTPUT"):
        with Path(path).open("a") as file:
            file.write(lines)
