"""Warm a server up before it is measured, so that more of the same load takes no more memory.

The load fills SQLite's cache and the allocator's size classes, and starts the threads that read.
Every message must be accepted and is in the account.
"""

from dataclasses import replace

import uvloop

from prixfixe.load import Plan, run
from prixfixe.load.plan import KIB

__all__ = ["aimed", "carry_out", "fill", "warm_up"]

FILL = 2000  # messages of 10 KiB: more than SQLite's cache holds
SECONDS = 60.0  # for any one answer; machines are busy


def aimed(box, plan=None, **numbers):
    """Return a plan against this box."""
    host, port = box.address()
    return replace(plan or Plan(timeout=SECONDS), host=host, port=port, **numbers)


def fill(box, account, workers=10):
    """Fill the cache, and have the threads there that read for the API and for metrics."""
    carry_out(aimed(box, messages=FILL, workers=workers, sizes=(10 * KIB,)), account)
    for path in ("/api/v1/messages?limit=1", "/metrics"):
        assert box.http(path).status == 200


def warm_up(box, plan, account):
    """Fill the cache, then send a tenth of the plan."""
    fill(box, account, plan.workers)
    same = max(plan.messages // 10, plan.workers)
    carry_out(replace(plan, messages=same, rate=None), account)


def carry_out(plan, account):
    """Send all of it, see it accepted, and return the outcome."""
    outcome = uvloop.run(run(plan, account.post()))
    assert (outcome.codes, outcome.errors) == ({250: plan.messages}, {})
    return outcome
