"""The primary is taken away under load: nothing that was acknowledged is lost.

`--failovers 50` is the long form; it prints the gaps.
"""

from __future__ import annotations

import json
import time

import pytest

from tests.durability.failover import Fleet, worst
from tests.durability.waiting import until
from tests.support.pg_fixture import cluster, whole_cluster  # noqa: F401 - fixtures


@pytest.fixture
def fleet(cluster, tmp_path, request):  # noqa: F811
    made = Fleet(cluster, tmp_path, seed=request.config.getoption("--pg-seed"))
    yield made
    made.close()


@pytest.mark.timeout(3600)
def test_failovers_lose_nothing(fleet, request, survived, capsys):
    count = request.config.getoption("--failovers")
    fleet.flows()
    done = [fleet.fail_over(fault) for fault in fleet.chosen(count)]
    fleet.stop()
    assert fleet.problems() == []
    assert fleet.defects() == []
    with capsys.disabled():
        told = {
            "failovers": count,
            "acknowledged": len(fleet.ledger.kept),
            "refused": sum(each.code >= 400 for each in fleet.ledger.sent),
            "seconds": [round(one.seconds, 1) for one in done],
            "gap after a kill or stop": round(worst(done, "kill", "stop"), 2),
            "gap after a freeze": round(worst(done, "freeze"), 2),
            "gap after a freeze and thaw": round(worst(done, "freeze and thaw"), 2),
        }
        print(json.dumps(told))  # noqa: T201
    survived("failover of the database", "postgresql", count, "failovers")


@pytest.mark.timeout(600)
def test_without_a_quorum_there_is_no_250(fleet, request):
    if not request.config.getoption("--full"):
        pytest.skip("the session `cluster` waits for the 451 (--full)")
    cluster = fleet.cluster  # noqa: F811
    fleet.flows(20)
    gone = [node for node in cluster.nodes if node is not cluster.primary]
    for node in gone:
        node.freeze()
    since = time.monotonic()
    kept = len(fleet.ledger.kept)
    assert until(lambda: 451 in fleet.codes, 60.0)
    assert time.monotonic() - since < 45  # 30 is promised; the machine may be busy
    assert len(fleet.ledger.kept) - kept <= 9  # what standbys had answered before they froze
    assert until(lambda: not any(map(fleet.is_ready, fleet.servers)), 60.0)
    for node in gone:
        node.thaw()
    since = time.monotonic()
    assert until(lambda: all(map(fleet.is_ready, fleet.servers)), 60.0)
    assert time.monotonic() - since < 20  # 2 are promised
    fleet.flows(20)
    fleet.stop()
    assert fleet.problems() == []
