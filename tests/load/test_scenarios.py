"""The named scenarios: every message is acknowledged and kept, and the server is as it was."""

from dataclasses import replace

import pytest
import uvloop

from prixfixe.load import SCENARIOS, run
from tests.load import figures, vitals
from tests.load.account import Account
from tests.load.warm import aimed, warm_up

SHORT = 15.0  # seconds of an open loop, unless all is asked for


@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", SCENARIOS)
def test_every_message_is_kept_once_and_the_server_is_as_before(name, start, record, is_all):
    box = start()
    plan = aimed(box, SCENARIOS[name])
    if plan.rate and not is_all:
        plan = replace(plan, messages=round(plan.rate * SHORT))
    account = Account(box)
    warm_up(plan, account)
    before, already = vitals.settled(box), account.acknowledged
    outcome = uvloop.run(run(plan, account.post()))
    after = vitals.of(box)
    record(figures.row(name, outcome, before, after))
    assert (outcome.codes, outcome.errors) == ({250: plan.messages}, {})
    assert account.acknowledged - already == plan.messages
    vitals.check_back(box, before)
    account.settle()
