"""The faults of a server, and which of them a session meets.

The number of faults, of counted addresses, and of connections that are held is bounded. Everything
runs in the event loop.
"""

from __future__ import annotations

import os
import random
import time
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from prixfixe.faults.magic import Magic
from prixfixe.faults.rule import Action, Known, Match, Rule
from prixfixe.smtp import replies
from prixfixe.smtp.hindrance import Hindrance

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prixfixe.smtp.hindrance import Facts

__all__ = ["CHAOS_STAGES", "MAX_RULES", "Chaos", "Faults", "TooManyFaultsError"]

MAX_RULES = 1000
CHAOS_STAGES = {"Sender": "mail", "Recipient": "rcpt", "Authentication": "auth"}
_DEFAULT_CODES = {"Authentication": 535}


class Chaos(NamedTuple):
    """A trigger of Mailpit's: a reply code, and its probability in percent."""

    code: int
    percent: int


class TooManyFaultsError(Exception):
    """The bound on faults is reached."""


class Faults:
    """The faults of one server.

    `max_held` is how many connections may be held at a time by a delay or a stall. A session that
    would be one more is told 421.
    """

    def __init__(
        self,
        max_held: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._max_held = max_held
        self._clock = clock
        self._draw = draw
        self._rules: dict[str, Rule] = {}
        self._magic = Magic()
        self._chaos: dict[str, Chaos] = {}
        self._chaotic: list[Rule] = []
        self.set_chaos({})
        self._refusal = Hindrance(reply=replies.TOO_MANY_HELD)
        self.held = 0

    # --- what tests ask for

    def add(
        self, stage: str, match: Match, action: Action, *, times: int | None, seconds: float
    ) -> str:
        """Add a fault that lives for so many seconds; return its id.

        Raises:
            TooManyFaultsError: there are MAX_RULES already.

        """
        self._forget_expired()
        if len(self._rules) >= MAX_RULES:
            raise TooManyFaultsError
        name = os.urandom(8).hex()
        expires_at = self._clock() + seconds
        self._rules[name] = Rule(name, stage, match, action, times=times, expires_at=expires_at)
        return name

    def remove(self, name: str) -> bool:
        """Remove a fault; return whether there was one."""
        self._forget_expired()
        return self._rules.pop(name, None) is not None

    def rules(self) -> list[tuple[Rule, float]]:
        """Return all faults, oldest first, each with its seconds to live."""
        self._forget_expired()
        now = self._clock()
        return [(rule, rule.expires_at - now) for rule in self._rules.values()]

    def set_chaos(self, given: dict[str, Chaos]) -> dict[str, Chaos]:
        """Set Mailpit's triggers, those that are not given to nothing; return all."""
        self._chaos = {
            name: given.get(name) or Chaos(_DEFAULT_CODES.get(name, 451), 0)
            for name in CHAOS_STAGES
        }
        self._chaotic = [
            Rule("chaos", CHAOS_STAGES[name], Match(), _chaos_action(one), percent=one.percent)
            for name, one in self._chaos.items()
            if one.percent
        ]
        return self._chaos

    @property
    def chaos(self) -> dict[str, Chaos]:
        """Mailpit's triggers by name."""
        return self._chaos

    def _forget_expired(self) -> None:
        now = self._clock()
        for name in [one.id for one in self._rules.values() if one.expires_at <= now]:
            del self._rules[name]

    # --- what sessions meet

    def find(self, facts: Facts) -> Hindrance | None:
        """Return what a session meets at a stage, and count it.

        That is the first delay that is for it, and the first fault of another kind: that of an
        address, then those of tests, oldest first, then chaos.
        """
        found = Hindrance()
        for rule in self._taking(facts):
            is_delay = rule.action.delay is not None
            if is_delay and found.seconds:
                continue
            rule.hits += 1
            if is_delay:
                found = found._replace(seconds=rule.hindrance.seconds)
                continue
            seconds = found.seconds + rule.hindrance.seconds
            return self._bounded(rule.hindrance._replace(seconds=seconds))
        return self._bounded(found) if found.seconds else None

    def _taking(self, facts: Facts) -> Iterator[Rule]:
        now = self._clock()
        session = Known(facts)
        magic = self._magic.rule(session, now) if facts.recipients else None
        for rule in chain((magic,) if magic else (), self._rules.values(), self._chaotic):
            is_met = rule.expires_at > now and rule.takes(session)
            if is_met and (rule.percent >= 100 or self._draw() * 100 < rule.percent):
                yield rule

    def _bounded(self, found: Hindrance) -> Hindrance:
        return self._refusal if found.seconds and self.held >= self._max_held else found

    # --- connections that are held

    def hold(self) -> None:
        """Count a connection that waits."""
        self.held += 1

    def release(self) -> None:
        """Count it no longer."""
        self.held -= 1


def _chaos_action(chaos: Chaos) -> Action:
    return Action(reply=f"{chaos.code} {chaos.code // 100}.0.0 Refused by chaos")
