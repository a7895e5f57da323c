"""A cluster loses standbys, names, network or disk under load: no 250 without a quorum."""

from __future__ import annotations

import pytest

from tests.durability import disks, strace
from tests.durability.outages import OUTAGES, SHORT, SHORT_SECONDS, Scene
from tests.support.pg_fixture import cluster, whole_cluster  # noqa: F401 - fixtures

pytestmark = pytest.mark.timeout(600)
NEEDS = {"disk full": disks.why_not, "disk slow": strace.why_not}
LOSING = "a standby promoted that is behind"


@pytest.fixture
def scene(cluster, tmp_path):  # noqa: F811
    """Make a scene; it is ended before the cluster is made whole."""
    made = []

    def make(seconds, fault=""):
        made.append(Scene(cluster, tmp_path, seconds, fault))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.mark.parametrize("outage", OUTAGES)
def test_an_outage_breaks_no_promise(scene, outage, request, survived, capsys):
    is_full = request.config.getoption("--full")
    if outage not in SHORT and not is_full:
        pytest.skip("the session `cluster` has this outage (--full)")
    if outage in NEEDS and (reason := NEEDS[outage]()):
        pytest.skip(reason)
    happen, seconds = OUTAGES[outage]
    made = scene(seconds if is_full else SHORT_SECONDS)
    happen(made)
    if outage != LOSING:  # nobody can give that mail back
        made.end()
    with capsys.disabled():
        print(f"{outage}: ready again after {made.back_after:.1f} s")  # noqa: T201
    survived(outage, "postgresql", 1, "outages under load")


def test_servers_that_wait_for_no_standby_are_noticed(scene, request):
    if not request.config.getoption("--full"):
        pytest.skip("the session `cluster` breaks the rules (--full)")
    happen, _ = OUTAGES["all standbys frozen"]
    with pytest.raises(AssertionError, match="acknowledged without a quorum"):
        happen(scene(SHORT_SECONDS, "unreplicated"))
