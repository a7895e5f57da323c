import pytest

from tests.durability import patience

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("tracing")]


def test_f11_slow_disk_delays_nobody_else(stand, survived):
    problems, slowest = patience.slow_disk(stand)
    assert problems == []
    survived("F11", stand.technology, patience.NOOPS, "NOOPs answered while a sync is held")
    survived("F11", stand.technology, round(slowest), "ms for the slowest of them")


def test_f11_dead_disk_is_not_waited_for(make_stand, technology, survived):
    assert patience.dead_disk(make_stand(technology, SMTP_STORE_TIMEOUT="0.5")) == []
    survived("F11", technology, 1, "disks that stop answering")


def test_f12_client_gone_in_the_commit(stand, survived):
    assert patience.client_gone(stand) == []
    survived("F12", stand.technology, 1, "clients gone in the commit")


@pytest.mark.parametrize("stage", patience.STOPS)
def test_f15_stopped(stand, stage, survived):
    assert patience.stop_at(stand, stage) == []
    survived("F15", stand.technology, 1, "stops")
