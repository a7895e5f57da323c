import pytest

from tests.durability import names

pytestmark = pytest.mark.timeout(300)


def test_f14_ids_that_come_again_overwrite_nothing(make_stand, technology, survived):
    problems, refused = names.repeat_ids(make_stand(technology, "frozen"))
    assert problems == []
    survived("F14", technology, refused, "ids that came again refused")


def test_f14_second_server_is_refused(stand, tmp_path, survived):
    assert names.second_server(stand, tmp_path) == []
    survived("F14", stand.technology, 1, "second servers refused")
