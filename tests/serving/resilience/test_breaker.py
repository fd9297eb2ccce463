"""Breakers: when a backend is left alone, and when it is asked again."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from serving.resilience.breaker import Breaker, BreakerRule, BreakerState, Permit

RULE = BreakerRule(failures=3, rest_s=1.0, max_rest_s=5.0)


class FakeClock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def breaker_and_clock() -> tuple[Breaker, FakeClock]:
    clock = FakeClock()
    return Breaker(RULE, clock), clock


def permitted(breaker: Breaker) -> Permit:
    permit = breaker.permit()
    assert permit is not None
    return permit


def trip(breaker: Breaker) -> None:
    for _ in range(RULE.failures):
        permitted(breaker).failed()


def test_failures_in_a_row_open_it_and_a_success_starts_the_count_again() -> None:
    breaker, _ = breaker_and_clock()
    for report in ("failed", "failed", "succeeded", "failed", "failed"):
        getattr(permitted(breaker), report)()
    assert breaker.state is BreakerState.CLOSED

    permitted(breaker).failed()

    assert breaker.state is BreakerState.OPEN
    assert breaker.permit() is None
    assert breaker.wait_s == 1.0


def test_one_probe_after_the_rest_and_its_success_closes() -> None:
    breaker, clock = breaker_and_clock()
    trip(breaker)
    clock.now += 1.0

    probe = permitted(breaker)
    assert breaker.permit() is None
    probe.succeeded()

    assert breaker.state is BreakerState.CLOSED
    assert breaker.permit() is not None


def test_rests_double_with_each_probe_that_fails_up_to_a_bound() -> None:
    breaker, clock = breaker_and_clock()
    trip(breaker)
    rests = []
    for _ in range(4):
        rests.append(breaker.wait_s)
        clock.now += breaker.wait_s
        permitted(breaker).failed()

    assert rests == [1.0, 2.0, 4.0, 5.0]


def test_an_abandoned_probe_lets_the_next_one_probe() -> None:
    breaker, clock = breaker_and_clock()
    trip(breaker)
    clock.now += 1.0
    permitted(breaker).abandoned()

    assert breaker.state is BreakerState.HALF_OPEN
    assert breaker.permit() is not None


def test_calls_from_before_it_opened_change_nothing_any_more() -> None:
    breaker, clock = breaker_and_clock()
    late = [permitted(breaker) for _ in range(20)]
    trip(breaker)
    for permit in late[:10]:
        permit.failed()
    assert breaker.wait_s == 1.0
    clock.now += 1.0
    probe = permitted(breaker)
    late[10].succeeded()
    late[11].failed()
    assert breaker.state is BreakerState.HALF_OPEN
    probe.succeeded()
    for permit in late[12:]:
        permit.failed()

    assert breaker.state is BreakerState.CLOSED


def test_a_permit_counts_once_and_an_answer_that_broke_off_counts_after_it() -> None:
    breaker, _ = breaker_and_clock()
    permit = permitted(breaker)
    permit.broke()  # nothing has begun yet
    for _ in range(5):
        permit.failed()
    assert breaker.state is BreakerState.CLOSED

    begun = [permitted(breaker) for _ in range(RULE.failures)]
    for permit in begun:
        permit.succeeded()
    for permit in begun:
        permit.broke()

    assert breaker.state is BreakerState.OPEN


def test_retry_after_opens_it_for_as_long_as_was_asked_within_bounds() -> None:
    breaker, clock = breaker_and_clock()
    breaker.rest(0.0)
    assert breaker.state is BreakerState.CLOSED
    breaker.rest(2.0)
    assert breaker.wait_s == 2.0
    breaker.rest(3600.0)
    assert breaker.wait_s == RULE.max_rest_s
    clock.now += RULE.max_rest_s

    permitted(breaker).succeeded()

    assert breaker.state is BreakerState.CLOSED


class Backend(RuleBasedStateMachine):
    """Whatever happens: nobody asks while it rests, one at a time probes, and every rest ends."""

    @initialize()
    def begin(self) -> None:
        self.breaker, self.clock = breaker_and_clock()
        self.running: list[Permit] = []
        self.probes: list[Permit] = []

    @rule()
    def ask(self) -> None:
        state = self.breaker.state
        permit = self.breaker.permit()
        if permit is None:
            assert state is not BreakerState.CLOSED
        elif state is BreakerState.HALF_OPEN:
            self.probes = [permit]
        else:
            assert state is BreakerState.CLOSED
            self.running.append(permit)

    @rule(seconds=st.floats(0.0, 8.0))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule(seconds=st.floats(0.0, 100.0))
    def rest(self, seconds: float) -> None:
        self.breaker.rest(seconds)

    @precondition(lambda self: self.running)
    @rule(which=st.integers(0, 1000), report=st.sampled_from(["succeeded", "failed", "abandoned", "broke"]))
    def settle(self, which: int, report: str) -> None:
        getattr(self.running.pop(which % len(self.running)), report)()

    @precondition(lambda self: self.probes)
    @rule(report=st.sampled_from(["succeeded", "failed", "abandoned"]))
    def settle_probe(self, report: str) -> None:
        getattr(self.probes.pop(), report)()

    @invariant()
    def rests_are_bounded(self) -> None:
        if hasattr(self, "breaker"):
            assert 0.0 <= self.breaker.wait_s <= RULE.max_rest_s + 1e-9
            assert (self.breaker.wait_s > 0) == (self.breaker.state is BreakerState.OPEN)

    def teardown(self) -> None:
        """It can always be closed again: wait, settle what probes, probe."""
        if not hasattr(self, "breaker"):
            return
        for permit in [*self.running, *self.probes]:
            permit.abandoned()
        self.clock.now += RULE.max_rest_s + 1e-9
        permitted(self.breaker).succeeded()
        assert self.breaker.state is BreakerState.CLOSED


TestBackend = Backend.TestCase
TestBackend.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
