"""Write the contract that a server keeps today, from a run: what failed is left out or waived."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from prixfixe.verify.cases import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prixfixe.verify.play import Run

__all__ = ["discovered"]

_PLAIN = ("target", "readback", "promise", "start", "health", "image", "logs", "protocol")


def discovered(run: Run) -> str:
    """Return a contract in TOML under which this run would not have failed."""
    lines = [
        f"# What {run.bench.source.name} was seen to keep; read it before you hold it to this.",
        "version = 1",
    ]
    if profile := run.bench.contract.tables.get("profile"):
        lines.append(f"profile = {_value(profile)}")
    for name in _PLAIN:
        if table := run.bench.contract.table(name):
            lines += ["", f"[{name}]", *_rows(table)]
    for name, table in run.bench.contract.table("configurations").items():
        lines += ["", f"[configurations.{name}]", *_rows(table)]
    return "\n".join([*lines, *_waived(run)]) + "\n"


def _rows(table: dict[str, Any]) -> Iterator[str]:
    for name, value in table.items():
        yield f"{_key(name)} = {_value(value)}"


def _waived(run: Run) -> Iterator[str]:
    failed = [one for one in run.results if one.outcome in (Outcome.FAIL, Outcome.WAIVED)]
    if failed:
        yield from ("", "[waive]")
    for one in failed:
        reason = " ".join(one.why.split())[:200]
        yield f"{_key(one.case.id)} = {{ reason = {_value(reason)} }}"


def _key(name: str) -> str:
    return name if name.replace("_", "").replace("-", "").isalnum() else json.dumps(name)


def _value(value: Any) -> str:  # noqa: ANN401 - TOML's types
    if isinstance(value, dict):
        pairs = ", ".join(f"{_key(name)} = {_value(one)}" for name, one in value.items())
        return f"{{ {pairs} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
