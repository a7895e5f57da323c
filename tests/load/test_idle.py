"""Thousands of clients that do nothing cost memory and nothing else."""

import pytest

from tests.container import engine
from tests.load import figures, vitals
from tests.load.account import Account
from tests.load.idlers import Idlers
from tests.load.warm import aimed, carry_out, fill

CLIENTS = 5000


@pytest.fixture
def inside(image):
    """A network that leads nowhere else."""
    made = engine.client().networks.create(
        engine.new_name(), driver="bridge", internal=True, labels=engine.labels()
    )
    yield made
    made.remove()


@pytest.mark.full
@pytest.mark.timeout(1200)
def test_mail_flows_while_five_thousand_clients_idle(inside, start, record):
    box = start({"SMTP_MAX_CONNECTIONS": str(CLIENTS + 50)})
    inside.connect(box.container)
    host = box.container.attrs["NetworkSettings"]["Networks"][inside.name]["IPAddress"]
    account = Account(box)
    fill(box, account)
    idle_and_send(box, Idlers(start, inside.name, host, CLIENTS), account)  # to warm it up
    before = vitals.settled(box)
    outcome = idle_and_send(box, Idlers(start, inside.name, host, CLIENTS), account)
    after = vitals.of(box)
    record(figures.row(f"{CLIENTS} idle", outcome, before, after))
    vitals.check_back(box, before)

    def play():
        idle_and_send(box, Idlers(start, inside.name, host, CLIENTS), account)

    vitals.check_no_leak(box, play, CLIENTS)
    account.settle()


def idle_and_send(box, idlers, account):
    idlers.inside()
    assert vitals.of(box).fds > CLIENTS
    plan = aimed(box, messages=1000, workers=20)
    outcome = carry_out(plan, account)
    assert box.prixfixe("check").code == 0
    idlers.leave()
    return outcome
