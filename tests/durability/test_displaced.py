import random

import pytest

from tests.durability import displaced, single

pytestmark = pytest.mark.timeout(600)

TABLE = [(name, event) for name, events in displaced.EVENTS.items() for event in events]


@pytest.mark.parametrize(("name", "event"), TABLE)
def test_f16_between_messages(make_stand, survived, name, event):
    assert displaced.between_messages(make_stand(name), event) == []
    survived("F16", name, 1, "files removed, moved, cut or replaced")


@pytest.mark.usefixtures("tracing")
@pytest.mark.parametrize(("name", "event"), TABLE)
def test_f16_between_the_calls_of_a_message(make_stand, tmp_path, amount, survived, name, event):
    stand = make_stand(name)
    server = stand.start()
    with stand.client() as client:
        calls = [each[:2] for each in single.calls_of(server.writer, client, tmp_path, 2000)]
    stand.close()
    synced = max(at for at, (call, _) in enumerate(calls) if call in ("fsync", "fdatasync"))
    drawn = random.Random(f"{name} {event}").sample(range(len(calls)), amount(2, len(calls)))
    for at in drawn:
        call, when = calls[at]
        stand = make_stand(name)
        problems, is_hit = displaced.between_calls(stand, event, call, when, is_decided=at > synced)
        assert problems == [], f"after {call} {when}"
        survived("F16", name, int(is_hit), "the same between the calls of a message")


def test_f16_what_is_put_back_is_taken_up_again(stand, survived):
    assert displaced.put_back(stand) == []
    survived("F16", stand.technology, 1, "stores moved away and back")
