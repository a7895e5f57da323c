"""Addresses that are faults by their name, such as `fault-451-x2@example.com`.

Each address counts for itself. The number of addresses that are remembered is bounded.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import TYPE_CHECKING

from prixfixe.faults.rule import MAX_DELAY_SECONDS, Action, Match, Rule
from prixfixe.smtp.address import comparable

if TYPE_CHECKING:
    from prixfixe.faults.rule import Known

__all__ = ["MAX_ADDRESSES", "MEMORY_SECONDS", "Magic"]

MAX_ADDRESSES = 1000
MEMORY_SECONDS = 600.0  # since an address was used, after which it counts anew
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0}
_NAME = re.compile(
    r"(?:fault-(?:(?P<code>[45][0-9]{2})|(?P<word>drop|stall)|close-(?P<octets>[0-9]{1,9}))"
    r"|delay-(?P<number>[0-9]{1,6})(?P<unit>ms|s|m))"
    r"(?:-(?P<stage>rcpt|data|eod))?(?:-x(?P<times>[1-9][0-9]{0,5}))?(?:\+.*)?"
)


class Magic:
    """The addresses that were used, the one that was used last at the end."""

    def __init__(self) -> None:
        self._rules: OrderedDict[str, Rule] = OrderedDict()

    def rule(self, known: Known, now: float) -> Rule | None:
        """Return the fault that a recipient is at this stage, if one is."""
        for address in known.facts.recipients:
            if address[:6].lower() in ("fault-", "delay-"):
                rule = self._rule(comparable(address), now)
                if rule is not None and rule.takes(known):
                    return rule
        return None

    def _rule(self, address: str, now: float) -> Rule | None:
        rule = self._rules.get(address)
        if rule is None or rule.expires_at <= now:
            rule = _read(address)
        if rule is not None:
            rule.expires_at = now + MEMORY_SECONDS
            self._rules[address] = rule
            self._rules.move_to_end(address)
            if len(self._rules) > MAX_ADDRESSES:
                self._rules.popitem(last=False)
        return rule


def _read(address: str) -> Rule | None:
    """Return the fault that an address in its comparable form is, or None."""
    found = _NAME.fullmatch(address.rpartition("@")[0])
    if found is None or (found["octets"] and found["stage"] == "eod"):
        return None
    stage = found["stage"] or ("data" if found["octets"] else "rcpt")
    times = int(found["times"]) if found["times"] else None
    return Rule(address, stage, Match(), _action(found), times=times)


def _action(found: re.Match[str]) -> Action:
    code = found["code"]
    if code:
        return Action(reply=f"{code} {code[0]}.0.0 This address is a fault")
    if found["octets"]:
        return Action(close_after=int(found["octets"]))
    if found["number"]:
        seconds = int(found["number"]) * _UNITS[found["unit"]]
        return Action(delay=min(seconds, MAX_DELAY_SECONDS))
    return Action(is_drop=found["word"] == "drop", is_stall=found["word"] == "stall")
