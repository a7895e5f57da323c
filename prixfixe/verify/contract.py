"""The contract that a server is held to: TOML, checked against its schema; profiles are such files.

A contract adds to its profile: tables are merged, anything else replaces what the profile has.
"""

from __future__ import annotations

import copy
import datetime as dt
import json
import tomllib
from dataclasses import dataclass, field
from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["PROFILES", "Contract", "ContractError", "faults_of", "load_contract", "schema"]

PROFILES = ("mailpit", "postfix", "prixfixe", "strict")
_HERE = files("prixfixe.verify")


class ContractError(Exception):
    """A contract is wrong; each of `faults` names a place, what is there and what was expected."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


@dataclass
class Contract:
    """A contract's tables, and questions to them."""

    tables: dict[str, Any] = field(default_factory=lambda: {"version": 1})

    def table(self, name: str) -> dict[str, Any]:
        """Return a table, empty if the contract has none of that name."""
        found: dict[str, Any] = self.tables.get(name, {})
        return found

    def get(self, table: str, name: str, default: Any = None) -> Any:  # noqa: ANN401 - TOML's types
        """Return a value, or the default where nothing is promised."""
        return self.table(table).get(name, default)

    def severity(self, case_id: str, default: str) -> str:
        """Return a case's severity, by its id or the longest beginning that ends with `*`."""
        named: dict[str, str] = self.table("severity")
        begins = [key for key in named if key.endswith("*") and case_id.startswith(key[:-1])]
        return named.get(case_id) or (named[max(begins, key=len)] if begins else default)

    def waiver(self, case_id: str) -> str:
        """Return why a failure of this case is accepted today, or nothing."""
        waiver = self.table("waive").get(case_id)
        if not waiver:
            return ""
        until = waiver.get("until", "")
        is_over = bool(until) and dt.date.fromisoformat(until) < dt.datetime.now(dt.UTC).date()
        return "" if is_over else str(waiver["reason"])


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a contract."""
    found: dict[str, Any] = json.loads(_HERE.joinpath("contract.schema.json").read_text("utf-8"))
    return found


def faults_of(tables: dict[str, Any], place: str) -> list[str]:
    """Return every fault of a contract, each with the place of the value and the value."""
    from jsonschema import Draft202012Validator

    found = Draft202012Validator(schema()).iter_errors(tables)
    return sorted(f"{place}: {_where(one.absolute_path)}{one.message}" for one in found)


def _where(path: Any) -> str:  # noqa: ANN401 - jsonschema's deque
    return f"{'.'.join(map(str, path))}: " if path else ""


def load_contract(path: Path | None, profile: str | None) -> Contract:
    """Return the contract of a file over that of a profile; either may be missing.

    Raises:
        ContractError: a file cannot be read, is no TOML or breaks the schema, with every fault.

    """
    tables, faults = ({"version": 1}, []) if path is None else _read(path)
    name = profile or tables.get("profile")
    if name is not None and name not in PROFILES:
        faults.append(f"profile {name!r}: expected one of {', '.join(PROFILES)}")
    if faults:
        raise ContractError(faults)
    below = (
        tomllib.loads(_HERE.joinpath(f"profiles/{name}.toml").read_text("utf-8")) if name else {}
    )
    return Contract(merged(below, tables))


def _read(path: Path) -> tuple[dict[str, Any], list[str]]:
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        return {}, [f"{path}: {error.strerror}"]
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        return {}, [f"{path}: not TOML: {error}"]
    tables = _plain(tables)
    return tables, faults_of(tables, str(path))


def _plain(tables: Any) -> Any:  # noqa: ANN401 - TOML's types
    """Return TOML's dates as text, which is what the schema knows."""
    if isinstance(tables, dict):
        return {name: _plain(value) for name, value in tables.items()}
    return tables.isoformat() if isinstance(tables, dt.date) else tables


def merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Return tables merged name by name; `above` wins."""
    both = copy.deepcopy(below)
    for name, value in above.items():
        old = both.get(name)
        both[name] = (
            merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
        )
    return both
