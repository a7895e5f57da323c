"""The container on a disk that loses its power, fills up, or is slow; see tests/durability.

SIGKILL under load, a full tmpfs and the plain stops are in test_life.
"""

import os

import pytest

from tests.container.attacked import USER, BoxedStand
from tests.durability import disks, patience, power, space, strace

pytestmark = pytest.mark.timeout(1200)

STORES = ("sqlite", "maildir")


@pytest.fixture
def count(request):
    """Return how often to do something: the bounded number, or the full one of `--full`."""
    is_full = request.config.getoption("--full", default=False)
    return lambda bounded, full: range(full if is_full else bounded)


@pytest.fixture
def survived(record_property):
    """Count faults that were survived; tests/durability prints the table."""
    return lambda fault, number, unit: record_property(
        "survived", (fault, "container", number, unit)
    )


@pytest.fixture
def disk(request, tmp_path):
    """Return an ext4 disk that the container's user may write."""
    if reason := disks.why_not():
        pytest.skip(reason)
    with disks.loop_disk(tmp_path, getattr(request, "param", "256M")) as made:
        made.give_to(USER)
        yield made


@pytest.fixture(params=STORES)
def stand(request, tmp_path, start, disk):
    """Return a stand whose mail is on the disk."""
    made = BoxedStand(tmp_path, request.param, start)
    made.place(disk.path)
    yield made
    made.close()


@pytest.fixture
def tracing():
    """Skip where no process can be traced."""
    if reason := strace.why_not():
        pytest.skip(reason)


@pytest.fixture
def near(image):
    """Skip where the engine's processes are not this machine's."""
    if os.environ.get("DOCKER_HOST", "unix://").partition(":")[0] != "unix":
        pytest.skip("the engine is on another machine")


@pytest.mark.usefixtures("near")
def test_f05_power_cut(stand, disk, count, survived):
    cuts = count(2, 25)
    for seed in cuts:
        assert power.cut_power(stand, disk, seed) == []
    assert stand.recovered(may_refused_stay=True) == []
    survived("F05", len(cuts), "power cuts")


@pytest.mark.usefixtures("near")
def test_f08_killed_under_load(stand, count, survived):
    kills = count(1, 10)
    for seed in kills:
        assert power.kill_under_load(stand, seed) == []
    survived("F08", len(kills), "kills under 32 clients")


@pytest.mark.usefixtures("near")
@pytest.mark.parametrize("disk", ["8M"], indirect=True)
def test_f09_full_disk(stand, disk, survived):
    for blocks in (0, 3):
        assert space.out_of_blocks(stand, disk.path, blocks) == []
    survived("F09", 2, "full disks")


@pytest.mark.usefixtures("near", "tracing")
@pytest.mark.parametrize("stage", patience.STOPS)
def test_f15_stopped(stand, stage, survived):
    assert patience.stop_at(stand, stage) == []
    survived("F15", 1, "stops")
