"""Big mail from many at once: more than fits in memory, all of it kept, nothing killed."""

from dataclasses import replace
from typing import NamedTuple

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
# docs/limits.md says what fits.
SMALL = {"SMTP_MAX_MESSAGE_SIZE": "6MiB", "SMTP_MAX_INFLIGHT": "8MiB"}
TLS = {"SMTP_TLS_CERT": "self-signed"}


class Case(NamedTuple):
    """Settings, and what so many clients send; `limit` is compose's where none is given."""

    environ: dict[str, str]
    octets: int
    clients: int = CLIENTS
    limit: str = ""


CASES = [
    pytest.param(Case(SMALL, 5 * MIB, limit="192m"), id="192m"),
    pytest.param(Case({}, 9 * MIB), id="compose's", marks=pytest.mark.full),
    # Every client there may be, all of them inside TLS.
    pytest.param(Case(TLS, 9 * MIB, 100), id="compose's-tls", marks=pytest.mark.full),
]


@pytest.mark.timeout(240)
@pytest.mark.parametrize("case", CASES)
def test_big_mail_from_many_at_once_is_kept_within_the_memory(case, start, record):
    limit, clients = case.limit, case.clients
    options = {"mem_limit": limit, "memswap_limit": limit} if limit else {}
    box = start(case.environ, **options)
    account = Account(box)
    plan = aimed(box, messages=clients, workers=clients, sizes=(case.octets,), timeout=180.0)
    plan = replace(plan, starttls="SMTP_TLS_CERT" in case.environ)
    # Buffers of TLS come and go with their connections, so as many are needed to have seen it all.
    warm = clients if plan.starttls else clients // 2
    carry_out(replace(plan, messages=warm, workers=warm), account)
    counted(box, STARVED)  # its thread is there from now on
    before = vitals.settled(box)
    outcome = uvloop.run(run(plan, account.post()))
    assert not box.state["OOMKilled"]
    after = vitals.of(box)
    tls = ", TLS" if plan.starttls else ""
    name = f"{clients} x {case.octets // MIB} MiB in {limit or 'the default'}{tls}"
    record(figures.row(name, outcome, before, after))
    assert (outcome.codes, outcome.errors) == ({250: plan.messages}, {})
    assert counted(box, STARVED) > 0  # or it was not too much
    assert box.container.attrs["RestartCount"] == 0
    # Memory for one message more would mean that one is held.
    vitals.check_back(box, before, most=before.rss + case.octets - MIB)
    assert box.stop() == 0
    # Another server reads it, so that the reading takes nothing of the small memory.
    account.settle(start(volume=box.volume))
