"""Hours of mail, while others read: nothing is lost, and nothing grows."""

import contextlib
import threading

import uvloop

from prixfixe.load import run
from prixfixe.load.outcome import merged
from prixfixe.load.plan import KIB
from tests.load import figures, vitals
from tests.load.account import Account
from tests.load.warm import aimed, fill

RATE = 50.0
SIZES = (KIB, 2 * KIB, KIB, 20 * KIB, KIB, 5 * KIB, KIB, 100 * KIB)  # an hour is 3 GB
PATHS = ("/metrics", "/readyz", "/api/v1/messages?limit=50", "/api/v1/message/latest")


def test_a_soak_loses_nothing_and_grows_nowhere(start, record, soak):
    """The first half brings the server to where it stays, the second must leave it there."""
    box = start()
    account = Account(box)
    fill(box, account)
    half = round(RATE * 60 * soak / 2)
    plan = aimed(box, messages=half, workers=50, rate=RATE, sizes=SIZES, is_own=True)
    with read_meanwhile(box):
        first = uvloop.run(run(plan, account.post()))
        before = vitals.settled(box)
        second = uvloop.run(run(plan, account.post()))
    after = vitals.check_back(box, before, vitals.SOAK_LEEWAY)
    record(figures.row(f"soak, {soak:g} minutes", merged((first, second)), before, after))
    for outcome in (first, second):
        assert (outcome.codes, outcome.errors) == ({250: half}, {})
    account.settle()
    assert box.health["Status"] == "healthy"


@contextlib.contextmanager
def read_meanwhile(box):
    """Ask what dashboards and tests ask, once a second; every answer must be good."""
    is_over, bad = threading.Event(), []

    def read():
        while not is_over.wait(1.0):
            for path in PATHS:
                answer = box.http(path, seconds=60)
                if answer.status != 200:
                    bad.append((path, answer.status))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield
    finally:
        is_over.set()
        reader.join(120)
    assert not bad
