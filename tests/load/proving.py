"""Carry out a plan of load and check that the server accepts and stores all of it without a leak.

A message that is lost, doubled or changed is an AssertionError. So is a descriptor or thread left
behind, and memory that grows by every round of the same load.
"""

from dataclasses import replace

import uvloop

from prixfixe.load import run
from tests.load import vitals
from tests.load.account import Account
from tests.load.warm import carry_out, warm_up

__all__ = ["prove"]

ROUND = 2000  # messages; a hundred octets of each are seen above what rounds scatter


def prove(box, plan, record=lambda outcome, before, after: None):
    """Carry out a plan, tell its outcome and the vitals around it, and check them."""
    account = Account(box)
    warm_up(box, plan, account)
    before, already = vitals.settled(box), account.acknowledged
    outcome = uvloop.run(run(plan, account.post()))
    record(outcome, before, vitals.of(box))
    assert (outcome.codes, outcome.errors) == ({250: plan.messages}, {})
    assert account.acknowledged - already == plan.messages
    assert box.health["Status"] != "unhealthy"  # it was busy, which is no illness
    vitals.check_back(box, before)
    same = replace(plan, messages=ROUND, rate=None)
    vitals.check_no_leak(box, lambda: carry_out(same, account), ROUND)
    account.settle()
