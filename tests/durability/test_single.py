import pytest

from tests.durability import single

pytestmark = [pytest.mark.timeout(900), pytest.mark.usefixtures("tracing")]


def test_f02_killed_at_each_call(stand, tmp_path, survived):
    problems, count = single.kill_at_each_call(stand, tmp_path)
    assert problems == []
    assert count > 10
    survived("F02", stand.technology, count, "kill points")


def test_f03_each_call_fails(stand, tmp_path, survived):
    problems, count = single.fail_each_call(stand, tmp_path)
    assert problems == []
    assert count >= 10 * len(single.ERRORS)
    survived("F03", stand.technology, count, "error points")


def test_f04_a_failed_sync_is_not_asked_again(stand, tmp_path, survived):
    count = 0
    while True:
        problems, is_hit = single.fail_sync_once(stand, tmp_path, count + 1)
        assert problems == []
        if not is_hit or count == 8:
            break
        count += 1
    assert count >= 1
    survived("F04", stand.technology, count, "syncs failed once")


def test_f13_an_error_reaches_the_whole_group(stand, survived):
    refused = 0
    # Maildir: the plug takes two syncs, then come those of the files and of the folder.
    points = (2,) if stand.technology == "sqlite" else (3, 10, 11)
    for when in points:
        problems, count = single.fail_group(stand, when)
        assert problems == []
        assert count == single.GROUP
        refused += count
    survived("F13", stand.technology, refused, "messages of failed groups refused")
