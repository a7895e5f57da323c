"""Hours of mail, while others read: nothing is lost, and nothing grows."""

import contextlib
import threading

import uvloop

from prixfixe.load import run
from prixfixe.load.outcome import merged
from prixfixe.load.plan import KIB
from tests.load import figures, trend, vitals
from tests.load.account import Account
from tests.load.warm import aimed, fill

RATE = 50.0
SIZES = (KIB, 2 * KIB, KIB, 20 * KIB, KIB, 5 * KIB, KIB, 100 * KIB)  # an hour is 3 GB
PATHS = ("/metrics", "/readyz", "/api/v1/messages?limit=50", "/api/v1/message/latest")


def test_a_soak_loses_nothing_and_grows_nowhere(start, record, soak):
    """The first third brings the server to where it stays, the rounds after it must leave it there."""
    box = start()
    account = Account(box)
    fill(box, account)
    each = round(RATE * 60 * soak / (trend.ROUNDS * 3 / 2))
    plan = aimed(box, messages=each, workers=50, rate=RATE, sizes=SIZES, is_own=True)
    outcomes, samples = [], []
    with read_meanwhile(box):
        for _ in range(trend.ROUNDS * 3 // 2):
            outcomes.append(uvloop.run(run(plan, account.post())))
            samples.append(vitals.settled(box))
    before = samples[-trend.ROUNDS]
    after = vitals.check_back(box, before)
    record(figures.row(f"soak, {soak:g} minutes", merged(outcomes), before, after))
    for outcome in outcomes:
        assert (outcome.codes, outcome.errors) == ({250: each}, {})
    found = trend.trend_of([one.rss for one in samples[-trend.ROUNDS :]])
    assert not trend.is_leak(found, each), f"memory grows: {found}"
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
