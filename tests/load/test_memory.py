"""Big mail from many at once: more than fits in memory, all of it kept, nothing killed."""

from dataclasses import replace

import pytest
import uvloop

from prixfixe.load import run
from prixfixe.load.plan import KIB
from tests.load import figures, vitals
from tests.load.account import Account
from tests.load.counted import counted
from tests.load.warm import aimed, carry_out

MIB = 1024 * KIB
CLIENTS = 32
STARVED = 'prixfixe_smtp_limits_total{limit="max_inflight"}'
BIG_LEEWAY = 4 * MIB  # less than one of the messages
# docs/limits.md says what fits.
SMALL = {"SMTP_MAX_MESSAGE_SIZE": "6MiB", "SMTP_MAX_INFLIGHT": "8MiB"}
LIMITS = {"64m": (SMALL, 5 * MIB), "": ({}, 9 * MIB)}
CASES = ["64m", pytest.param("", marks=pytest.mark.full)]


@pytest.mark.timeout(240)
@pytest.mark.parametrize("limit", CASES, ids=lambda limit: limit or "compose's")
def test_big_mail_from_many_at_once_is_kept_within_the_memory(limit, start, record):
    options = {"mem_limit": limit, "memswap_limit": limit} if limit else {}
    environ, octets = LIMITS[limit]
    box = start(environ, **options)
    account = Account(box)
    plan = aimed(box, messages=CLIENTS, workers=CLIENTS, sizes=(octets,), timeout=180.0)
    carry_out(replace(plan, messages=CLIENTS // 2, workers=CLIENTS // 2), account)
    counted(box, STARVED)  # its thread is there from now on
    before = vitals.settled(box)
    outcome = uvloop.run(run(plan, account.post()))
    assert not box.state["OOMKilled"]
    after = vitals.of(box)
    name = f"{CLIENTS} x {octets // MIB} MiB in {limit or 'the default'}"
    record(figures.row(name, outcome, before, after))
    assert (outcome.codes, outcome.errors) == ({250: plan.messages}, {})
    assert counted(box, STARVED) > 0  # or it was not too much
    assert box.container.attrs["RestartCount"] == 0
    vitals.check_back(box, before, BIG_LEEWAY)
    assert box.stop() == 0
    # Another server reads it, so that the reading takes nothing of the small memory.
    account.settle(start(volume=box.volume))
