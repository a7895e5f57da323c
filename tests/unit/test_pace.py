"""The clocks of a session and the choice of who gives way: no sockets, no waiting."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prixfixe.limits.timing import Limits, Overdue, Pace, Shedding, Turn

LIMITS = Limits(idle_seconds=300, session_seconds=3600, octets_per_second=500, store_seconds=60)
NEVER = Limits(idle_seconds=300, session_seconds=math.inf, octets_per_second=0, store_seconds=60)


def run(pace, steps, *, turn=Turn.CLIENT_DATA, until=100_000.0):
    """Let a client send `(seconds later, octets)` again and again; return when and why it ends."""
    now = 0.0
    for seconds, octets in steps:
        now += seconds
        reply = pace.overdue(now, turn, 0.0)
        if reply is not None:
            return now, reply
        if now > until:
            break
        if octets:
            pace.progressed(now, octets)
    return now, None


def again(*steps):
    while True:
        yield from steps


def test_an_octet_before_each_deadline_does_not_hold_a_place():
    when, reply = run(Pace(LIMITS, 0.0), again((299, 1)))
    assert reply is Overdue.DATA
    assert when < 2 * 300


def test_without_a_rate_any_octet_is_progress():
    assert run(Pace(NEVER, 0.0), again((299, 1)))[1] is None


@pytest.mark.parametrize(
    "steps",
    [
        [(1, 500)],
        [(299, 500 * 299)],  # RFC 5321 4.5.3.2.5 lets a block take three minutes
        [(180, 90_000)],
        [(0.25, 8)] * 100 + [(30, 100_000)],
        [(64, 0), (1, 32_500)],  # TCP backs off, then makes up for it
    ],
    ids=["at the rate", "in bursts", "a block in three minutes", "slow start", "lost segments"],
)
def test_an_honest_slow_client_is_not_cut(steps):
    assert run(Pace(LIMITS._replace(session_seconds=math.inf), 0.0), again(*steps))[1] is None


def test_rate_is_averaged_over_a_minute_at_least():
    pace = Pace(LIMITS._replace(idle_seconds=1.5), 0.0)
    when, reply = run(pace, again((0.25, 8)))
    assert reply is Overdue.DATA
    assert when > 60


def test_time_before_the_data_is_not_owed():
    pace = Pace(LIMITS, 0.0)
    pace.progressed(290.0, 0)
    assert pace.overdue(310.0, Turn.CLIENT_DATA, 290.0) is None
    assert pace.overdue(310.0, Turn.CLIENT_DATA, 5.0) is Overdue.DATA


def test_a_burst_is_no_credit_for_later():
    pace = Pace(LIMITS, 0.0)
    pace.progressed(1.0, 10_000_000)
    assert pace.owed_seconds(1.0) == 0
    assert pace.owed_seconds(101.0) == 100


def test_session_time_is_over_once():
    pace = Pace(LIMITS, 0.0)
    pace.progressed(3599.0, 10_000_000)
    assert pace.overdue(3599.5, Turn.CLIENT_DATA, 3500.0) is None
    assert pace.overdue(3600.0, Turn.SERVER, 3500.0) is Overdue.SESSION
    assert pace.overdue(3600.0, Turn.CLIENT_DATA, 3500.0) is None
    assert pace.overdue(4000.0, Turn.CLIENT_DATA, 3500.0) is Overdue.IDLE


def test_our_time_is_not_the_peers():
    pace = Pace(LIMITS, 0.0)
    assert pace.overdue(1000.0, Turn.SERVER, 0.0) is None
    pace.touch(1000.0)
    assert pace.overdue(1299.0, Turn.CLIENT_DATA, 0.0) is None
    assert pace.owed_seconds(1000.0) == 0


@given(
    st.lists(st.tuples(st.floats(0, 400), st.integers(0, 10**6), st.sampled_from(Turn))),
    st.floats(0.1, 400),
)
def test_looking_when_told_never_misses_an_idle_peer(steps, idle):
    """Whatever happened, idle time is seen within one look of its end."""
    pace, now = Pace(NEVER._replace(idle_seconds=idle), 0.0), 0.0
    for seconds, octets, turn in steps:
        now += seconds
        if octets:
            pace.progressed(now, octets)
        assert 0 < pace.seconds_to_look(now, turn) <= 60
    for _ in range(10_000):
        if pace.overdue(now, Turn.CLIENT, 0.0) is not None:
            break
        now += pace.seconds_to_look(now, Turn.CLIENT)
    assert (
        now <= pace.active_at + idle + 0.01 or not steps or now < sum(s for s, *_ in steps) + 0.01
    )


# --- who gives way


class Place:
    def __init__(self, owed):
        self.owed = owed
        self.looked = 0

    def owed_seconds(self, now):
        self.looked += 1
        return now - self.owed if self.owed is not None else 0.0


def test_the_longest_without_worth_gives_way_first():
    places = [Place(since) for since in (3.0, 1.0, 2.0, 9.0, None)]
    shedding = Shedding(5.0)
    assert [shedding.pick(places, 10.0) for _ in range(4)] == [
        *(places[n] for n in (1, 2, 0)),
        None,
    ]


def test_nobody_gives_way_who_came_a_moment_ago():
    assert Shedding(5.0).pick([Place(8.0), Place(None)], 10.0) is None


def test_zero_is_off():
    assert Shedding(0).pick([Place(0.0)], 1000.0) is None


def test_one_who_has_sent_mail_meanwhile_stays():
    places = [Place(1.0), Place(2.0)]
    shedding = Shedding(5.0)
    assert shedding.pick(places, 10.0) is places[0]
    places[1].owed = 9.0
    assert shedding.pick(places, 10.0) is None


def test_a_flood_of_newcomers_looks_at_everyone_once():
    places = [Place(6.0) for _ in range(100)]
    shedding = Shedding(5.0)
    for _ in range(1000):
        assert shedding.pick(places, 10.0) is None
    assert sum(place.looked for place in places) == 100
    assert shedding.pick(places, 11.5) in places
    for place in places:
        place.looked = 0
    taken = {shedding.pick(places, 11.5) for _ in range(99)}
    assert len(taken) == 99
    assert sum(place.looked for place in places) == 99
