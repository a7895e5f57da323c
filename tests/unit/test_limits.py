"""Admission counts, rates and probes; the byte budget and the proof that it cannot deadlock."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from prixfixe.limits.admission import Admission, Refusal, peer_network
from prixfixe.limits.memory import Budget


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.mark.parametrize(
    ("host", "network"),
    [
        pytest.param("192.0.2.7", "192.0.2.7", id="ipv4 stands alone"),
        pytest.param("2001:db8:0:1::7", "2001:db8:0:1::/64", id="ipv6 by its /64"),
        pytest.param("2001:db8:0:1:ffff::", "2001:db8:0:1::/64", id="same /64, other host"),
        pytest.param("2001:db8:0:2::7", "2001:db8:0:2::/64", id="the next /64"),
        pytest.param("::ffff:192.0.2.7", "192.0.2.7", id="v4-mapped is ipv4"),
        pytest.param("::ffff:c000:207", "192.0.2.7", id="v4-mapped in hex"),
        pytest.param("fe80::1%eth0", "fe80::/64", id="scope is dropped"),
        pytest.param("", "", id="no address"),
        pytest.param("a:b", "a:b", id="not an address"),
    ],
)
def test_peer_network_is_the_unit_a_peer_is_counted_by(host, network):
    assert network == peer_network(host)


def test_admission_refuses_past_the_total_and_admits_again_after_a_leave(clock):
    admission = Admission(2, clock=clock)
    assert [admission.admit("192.0.2.1", p) for p in (1, 2, 3)] == [None, None, Refusal.OVER_LIMIT]

    admission.leave("192.0.2.1", 1)

    assert admission.admit("192.0.2.1", 4) is None
    assert admission.connections == 2


def test_admission_caps_one_network_and_leaves_others_alone(clock):
    admission = Admission(10, max_per_peer=1, clock=clock)
    assert admission.admit("2001:db8::1", 1) is None

    assert admission.admit("2001:db8::2", 2) is Refusal.OVER_IP_LIMIT
    assert admission.admit("2001:db8:0:1::1", 3) is None
    assert admission.connections == 2


def test_admission_frees_the_slot_of_a_network_when_any_of_its_hosts_leaves(clock):
    admission = Admission(10, max_per_peer=2, clock=clock)
    assert [admission.admit("::ffff:192.0.2.1", p) for p in (1, 2)] == [None, None]
    assert admission.admit("192.0.2.1", 3) is Refusal.OVER_IP_LIMIT

    admission.leave("::ffff:192.0.2.1", 1)

    assert admission.admit("192.0.2.1", 3) is None
    assert admission.admit("192.0.2.1", 4) is Refusal.OVER_IP_LIMIT


def test_admission_keeps_nothing_of_peers_that_left(clock):
    admission = Admission(10, max_per_peer=1, clock=clock)
    for n in range(50):
        admission.admit(f"192.0.2.{n}", n)
        admission.leave(f"192.0.2.{n}", n)

    assert admission.connections == 0
    assert admission._per_peer == {}


def test_rate_allows_a_burst_then_refills_evenly(clock):
    admission = Admission(100, max_per_minute=6, clock=clock)
    assert [admission.admit("192.0.2.1", p) for p in range(6)] == [None] * 6
    assert admission.admit("192.0.2.1", 6) is Refusal.RATE_LIMITED

    clock.now += 9.9
    assert admission.admit("192.0.2.1", 7) is Refusal.RATE_LIMITED
    clock.now += 0.2
    assert admission.admit("192.0.2.1", 8) is None
    assert admission.admit("192.0.2.1", 9) is Refusal.RATE_LIMITED


def test_rate_refusal_costs_the_peer_nothing_and_is_not_counted(clock):
    admission = Admission(100, max_per_minute=1, clock=clock)
    admission.admit("192.0.2.1", 1)
    for port in range(50):
        assert admission.admit("192.0.2.1", port) is Refusal.RATE_LIMITED

    clock.now += 60.1

    assert admission.admit("192.0.2.1", 2) is None
    assert admission.connections == 2


def test_rate_is_kept_apart_for_each_network(clock):
    admission = Admission(100, max_per_minute=1, clock=clock)
    assert admission.admit("192.0.2.1", 1) is None
    assert admission.admit("192.0.2.2", 1) is None
    assert admission.admit("192.0.2.1", 2) is Refusal.RATE_LIMITED


def test_rate_memory_is_bounded_and_shrinks_when_peers_are_idle(clock):
    admission = Admission(1, max_per_minute=1, clock=clock)
    for n in range(10_500):
        admission.admit(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", 1)
        admission.leave("", 0)
    assert len(admission._rate._full_at) == 10_000

    clock.now += 120
    for _ in range(6_000):
        admission.admit("192.0.2.1", 1)
        admission.leave("", 0)

    assert len(admission._rate._full_at) == 1


def test_proxied_connection_is_counted_in_all_and_later_by_its_real_peer(clock):
    admission = Admission(10, max_per_peer=1, clock=clock)
    assert [admission.admit("", 0) for _ in range(2)] == [None, None]
    assert admission.identify("192.0.2.1") is None
    assert admission.identify("192.0.2.1") is Refusal.OVER_IP_LIMIT
    assert admission.connections == 2

    admission.leave("192.0.2.1", 9)
    admission.leave("", 0)

    assert admission.connections == 0
    assert admission.identify("192.0.2.1") is None


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
def test_expected_probe_is_admitted_past_every_limit_and_not_counted(clock, host):
    admission = Admission(0, max_per_peer=1, max_per_minute=1, clock=clock)
    admission.expect_probe(4000)

    assert admission.admit(host, 4000) is None
    assert admission.is_probe(host, 4000)
    assert admission.connections == 0
    admission.leave(host, 4000)
    assert not admission.is_probe(host, 4000)
    assert admission.admit(host, 4000) is Refusal.OVER_LIMIT


def test_probe_exemption_is_for_one_connection(clock):
    admission = Admission(0, clock=clock)
    admission.expect_probe(4000)
    admission.admit("127.0.0.1", 4000)

    assert admission.admit("::1", 4000) is Refusal.OVER_LIMIT


@pytest.mark.parametrize(
    ("host", "port"),
    [
        pytest.param("192.0.2.1", 4000, id="not loopback"),
        pytest.param("127.0.0.1", 4001, id="other port"),
        pytest.param("2001:db8::1", 4000, id="not loopback, ipv6"),
    ],
)
def test_other_peers_do_not_use_up_the_probe_exemption(clock, host, port):
    admission = Admission(0, clock=clock)
    admission.expect_probe(4000)

    assert not admission.is_expected(host, port)
    assert admission.admit(host, port) is Refusal.OVER_LIMIT
    assert admission.is_expected("127.0.0.1", 4000)
    assert admission.admit("127.0.0.1", 4000) is None


def test_probe_exemption_expires(clock):
    admission = Admission(0, clock=clock)
    admission.expect_probe(4000)

    clock.now += 10.5

    assert admission.admit("127.0.0.1", 4000) is Refusal.OVER_LIMIT


def test_probes_remembered_are_bounded_and_the_oldest_goes_first(clock):
    admission = Admission(0, clock=clock)
    for port in range(17):
        admission.expect_probe(port)

    assert admission.admit("127.0.0.1", 0) is Refusal.OVER_LIMIT
    assert [admission.admit("127.0.0.1", port) for port in range(1, 17)] == [None] * 16


def test_probes_that_stay_are_bounded_too(clock):
    admission = Admission(0, clock=clock)
    for port in range(16):
        admission.expect_probe(port)
        admission.admit("127.0.0.1", port)

    admission.expect_probe(99)

    assert admission.admit("127.0.0.1", 99) is Refusal.OVER_LIMIT


class Session:
    """A holder that records its grants and what it was promised."""

    def __init__(self, name="session"):
        self.name = name
        self.held = 0
        self.wanted = 0
        self.grants = 0
        self.on_granted = None

    def __repr__(self):
        return self.name

    def budget_granted(self):
        assert self.wanted, "granted without waiting"
        self.held, self.wanted = self.held + self.wanted, 0
        self.grants += 1
        if self.on_granted:
            self.on_granted()

    def ask(self, budget, nbytes):
        if budget.request(self, nbytes):
            self.held, self.wanted = self.held + self.wanted + nbytes, 0
            return True
        self.wanted += nbytes
        return False

    def release(self, budget):
        self.held = self.wanted = 0
        budget.release(self)


def test_budget_smaller_than_one_message_is_refused():
    with pytest.raises(ValueError, match="a budget of 9 bytes cannot hold one message of 10"):
        Budget(9, 10)


def test_budget_refuses_a_holder_that_would_pass_its_share():
    budget, session = Budget(100, 10), Session()
    session.ask(budget, 10)

    with pytest.raises(ValueError, match="a message may hold 10 bytes, no more"):
        budget.request(session, 1)

    assert budget.in_use == 10


def test_budget_lets_the_first_who_would_wait_finish_and_then_the_next():
    budget = Budget(12, 10)
    first, second, third = sessions = [Session(n) for n in ("first", "second", "third")]
    assert first.ask(budget, 1)
    assert second.ask(budget, 1)

    assert first.ask(budget, 9)  # two are shared, ten are kept for the elder: the first to ask
    assert not second.ask(budget, 9)
    assert not third.ask(budget, 3)
    assert (budget.in_use, budget.waiting) == (11, 2)

    first.release(budget)

    assert [s.held for s in sessions] == [0, 10, 0]
    second.release(budget)
    assert (third.held, budget.waiting) == (3, 0)


def test_budget_newcomer_does_not_overtake_those_who_wait():
    budget = Budget(12, 10)
    elder, big, small = Session("elder"), Session("big"), Session("small")
    elder.ask(budget, 10)
    assert not big.ask(budget, 9)

    assert not small.ask(budget, 1)  # it would fit
    elder.release(budget)

    assert (big.held, small.held) == (9, 1)


def test_budget_release_of_a_waiter_lets_those_behind_it_go():
    budget = Budget(12, 10)
    elder, blocker, behind = Session("elder"), Session("blocker"), Session("behind")
    elder.ask(budget, 10)
    assert not blocker.ask(budget, 8)
    assert not behind.ask(budget, 2)

    blocker.release(budget)

    assert (behind.held, behind.grants) == (2, 1)
    assert blocker.grants == 0


def test_budget_double_release_is_harmless():
    budget, session, other = Budget(20, 10), Session(), Session()
    session.ask(budget, 5)
    other.ask(budget, 5)

    session.release(budget)
    session.release(budget)

    assert budget.in_use == 5


def test_budget_more_asked_while_waiting_is_granted_in_one():
    budget = Budget(10, 10)
    elder, waiter = Session("elder"), Session("waiter")
    elder.ask(budget, 1)
    assert not waiter.ask(budget, 2)
    assert not waiter.ask(budget, 3)

    elder.release(budget)

    assert (waiter.held, waiter.grants) == (5, 1)


def test_budget_callback_may_release_itself_and_another_just_granted():
    budget = Budget(12, 10)
    elder, one, two = Session("elder"), Session("one"), Session("two")
    elder.ask(budget, 10)
    assert not one.ask(budget, 3)
    assert not two.ask(budget, 1)

    def end_both():
        two.release(budget)
        one.release(budget)

    one.on_granted = end_both
    elder.release(budget)

    assert (one.grants, two.grants) == (1, 0)
    assert (budget.in_use, budget.waiting) == (0, 0)


def test_budget_chain_of_waiters_that_finish_at_once_does_not_recurse():
    budget = Budget(10, 10)
    elder = Session("elder")
    elder.ask(budget, 10)
    waiters = [Session(str(n)) for n in range(3000)]
    for waiter in waiters:
        waiter.on_granted = lambda waiter=waiter: waiter.release(budget)
        assert not waiter.ask(budget, 10)

    elder.release(budget)

    assert [waiter.grants for waiter in waiters] == [1] * 3000
    assert budget.in_use == 0


class BudgetMachine(RuleBasedStateMachine):
    """Any number of sessions asking and leaving at any time; the rules of the budget hold."""

    def __init__(self):
        super().__init__()
        self.max_holding = 10
        self.budget = None
        self.sessions = [Session(str(n)) for n in range(6)]
        self.began_waiting = []

    @precondition(lambda self: self.budget is None)
    @rule(spare=st.integers(0, 40))
    def start(self, spare):
        self.total = self.max_holding + spare
        self.budget = Budget(self.total, self.max_holding)

    @precondition(lambda self: self.budget)
    @rule(index=st.integers(0, 5), nbytes=st.integers(1, 10))
    def ask(self, index, nbytes):
        session = self.sessions[index]
        nbytes = min(nbytes, self.max_holding - session.held - session.wanted)
        if nbytes and not session.ask(self.budget, nbytes) and session not in self.began_waiting:
            self.began_waiting.append(session)

    @precondition(lambda self: self.budget)
    @rule(index=st.integers(0, 5))
    def release(self, index):
        self.leave(self.sessions[index])

    def leave(self, session):
        self.began_waiting = [s for s in self.began_waiting if s is not session]
        session.release(self.budget)
        self.drop_granted()

    def drop_granted(self):
        """Whoever stopped waiting must not have been waiting behind one who still does."""
        flags = [bool(session.wanted) for session in self.began_waiting]
        first_waiting = flags.index(True) if True in flags else len(flags)
        newcomers = self.began_waiting[first_waiting:]
        late = [s for s in newcomers if not s.wanted]
        assert all(self.is_senior(s) for s in late), (late, newcomers)
        self.began_waiting = [s for s in self.began_waiting if s.wanted]

    def is_senior(self, session):
        """It queued in an earlier wait and kept that place (read from the budget's queue)."""
        order = list(self.budget._queue)
        waiting = [s for s in order if s.wanted]
        return not waiting or order.index(session) < order.index(waiting[0])

    @invariant()
    def holds_what_it_says_and_never_more_than_the_total(self):
        if self.budget:
            assert sum(session.held for session in self.sessions) == self.budget.in_use
            assert self.budget.in_use <= self.total
            assert sum(1 for s in self.sessions if s.wanted) == self.budget.waiting

    @invariant()
    def one_session_can_always_take_all_it_may_need(self):
        if self.budget and self.budget.waiting:
            free = self.total - self.budget.in_use
            able = [s for s in self.sessions if not s.wanted]
            assert any(free >= self.max_holding - session.held for session in able)

    def teardown(self):
        """Each session in turn that may go on takes all it can and finishes: none is left."""
        if self.budget is None:
            return
        while self.budget.waiting:
            elder = next(iter(self.budget._queue))
            assert not elder.wanted
            if elder.held < self.max_holding:
                assert elder.ask(self.budget, self.max_holding - elder.held)
            self.leave(elder)
        for session in self.sessions:
            session.release(self.budget)
        assert (self.budget.in_use, self.budget.waiting) == (0, 0)
        assert not self.budget._queue
        assert not self.budget._held


BudgetMachine.TestCase.settings = settings(
    max_examples=120, stateful_step_count=40, deadline=None, database=None
)
TestBudget = BudgetMachine.TestCase


def test_nobody_gives_way_to_one_that_may_not_stay(clock):
    admission = Admission(2, max_per_minute=1, clock=clock)
    asked = []

    def make_room():
        asked.append(True)
        return False

    assert [admission.admit(f"192.0.2.{last}", 1) for last in (1, 2)] == [None, None]
    assert admission.admit("192.0.2.1", 2, make_room) is Refusal.RATE_LIMITED
    assert asked == []
    assert admission.admit("192.0.2.3", 1, make_room) is Refusal.OVER_LIMIT
    assert asked == [True]
    admission.leave("192.0.2.2", 1)
    assert admission.admit("192.0.2.3", 1, make_room) is None, "a look takes no token"
