"""The named scenarios: every message is acknowledged and kept, and the server is as it was."""

from dataclasses import replace

import pytest
import uvloop

from prixfixe.load import SCENARIOS, run
from prixfixe.load.plan import KIB
from tests.load import figures, vitals
from tests.load.account import Account

FILL = 2000  # messages of 10 KiB: more than SQLite's cache holds
SHORT = 15.0  # seconds of an open loop, unless all is asked for


def warm_up(plan, account):
    """Bring the server where more of the same changes nothing."""
    fill = replace(plan, messages=FILL, sizes=(10 * KIB,), rate=None)
    same = replace(plan, messages=max(plan.messages // 10, plan.workers), rate=None)
    for one in (fill, same):
        outcome = uvloop.run(run(one, account.post()))
        assert outcome.accepted == one.messages


@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", SCENARIOS)
def test_every_message_is_kept_once_and_the_server_is_as_before(name, start, record, is_all):
    box = start()
    plan = aimed(SCENARIOS[name], box, is_all=is_all)
    account = Account(box)
    warm_up(plan, account)
    before, already = vitals.of(box), account.acknowledged
    outcome = uvloop.run(run(plan, account.post()))
    after = vitals.of(box)
    record(figures.row(name, outcome, before, after))
    assert (outcome.codes, outcome.errors) == ({250: plan.messages}, {})
    assert account.acknowledged - already == plan.messages
    vitals.check_back(box, before)
    account.settle()


def aimed(plan, box, *, is_all):
    """Return a plan against this box; an open loop is cut short unless all is asked for."""
    host, port = box.address()
    plan = replace(plan, host=host, port=port)
    if plan.rate and not is_all:
        return replace(plan, messages=round(plan.rate * SHORT))
    return plan
