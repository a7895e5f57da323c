"""Many sessions at once: as many as are allowed lose nothing, those too many are told so."""

import asyncio

import pytest
import uvloop

from prixfixe.load.plan import KIB
from tests.load import figures, vitals
from tests.load.account import Account
from tests.load.counted import counted
from tests.load.crowd import Crowd
from tests.load.warm import aimed, carry_out, fill

pytestmark = pytest.mark.timeout(240)

ACTIVE = 'prixfixe_smtp_connections_active{listener="smtp"}'
OVER = 'prixfixe_smtp_connections_total{listener="smtp",result="over_limit"}'
SESSIONS, EACH = 1000, 5


def test_a_thousand_sessions_at_once_fail_in_nothing(start, record, descriptors, is_all):
    descriptors(SESSIONS + 100)
    box = start({"SMTP_MAX_CONNECTIONS": str(SESSIONS)})
    plan = aimed(box, messages=SESSIONS * EACH, workers=SESSIONS, sizes=(10 * KIB,))
    account = Account(box)
    for _ in range(2):
        uvloop.run(together(box, plan, account))
    before = vitals.settled(box)
    outcome = uvloop.run(together(box, plan, account))
    after = vitals.of(box)
    record(figures.row(f"{SESSIONS} sessions", outcome, before, after))
    assert (outcome.codes, outcome.errors) == ({250: plan.messages}, {})
    vitals.check_back(box, before)
    if is_all:
        vitals.check_no_leak(box, lambda: uvloop.run(together(box, plan, account)), plan.messages)
    account.settle()


async def together(box, plan, account):
    async with Crowd(plan) as crowd:
        assert not crowd.turned_away
        assert (
            await asyncio.to_thread(counted, box, ACTIVE) >= plan.workers
        )  # a probe may be there too
        return await crowd.send(account.post())


LIMIT, STORM = 100, 1000


def test_a_storm_at_the_limit_hurts_only_those_too_many(start, record, descriptors, is_all):
    """Ten times as many as may be in come at once; later all the places are free again."""
    descriptors(STORM + 100)
    # How long a place may be held by a client that sends nothing yet is another test's matter.
    box = start({"SMTP_MAX_CONNECTIONS": str(LIMIT), "SMTP_STRESS_TIMEOUT": "0"})
    plan = aimed(box, messages=LIMIT * EACH, workers=STORM)
    account = Account(box)
    fill(box, account)
    uvloop.run(storm(box, plan, account))
    before = vitals.settled(box)
    outcome = uvloop.run(storm(box, plan, account))
    after = vitals.of(box)
    record(figures.row(f"storm of {STORM}", outcome, before, after))
    vitals.check_back(box, before)
    if is_all:
        vitals.check_no_leak(box, lambda: uvloop.run(storm(box, plan, account)), plan.messages)
    everybody = aimed(box, messages=STORM, workers=LIMIT, is_own=True)
    carry_out(everybody, account)
    account.settle()


async def storm(box, plan, account):
    refused = await asyncio.to_thread(counted, box, OVER)
    async with Crowd(plan) as crowd:
        assert len(crowd.inside) == LIMIT
        assert crowd.turned_away == {421: STORM - LIMIT}
        assert await asyncio.to_thread(counted, box, OVER) - refused == STORM - LIMIT
        outcome = await crowd.send(account.post())
    assert (outcome.codes, outcome.errors) == ({250: plan.messages}, {})
    return outcome
