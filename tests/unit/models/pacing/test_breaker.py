"""Who is away is left alone; who refuses is there."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galerne.errors import (
    BadAnswerError,
    DeadlineError,
    ModelError,
    RateLimitedError,
    TransientError,
    UnavailableError,
)
from galerne.models.pacing.breaker import FAILURES, LONGEST_PAUSE, Breaker, Outcome, outcome_of


def call(breaker: Breaker, outcome: Outcome, now: float) -> None:
    breaker.begin()
    breaker.end(outcome, now)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (None, "answered"),
        (ModelError("no"), "refused"),
        (BadAnswerError("what?"), "garbled"),
        (RateLimitedError("slow down"), "limited"),
        (UnavailableError("nobody"), "away"),
        (TransientError("500"), "failed"),
        (DeadlineError("slow"), "failed"),
        (KeyboardInterrupt(), "dropped"),
    ],
)
def test_what_an_error_says_of_the_endpoint(error: BaseException | None, outcome: Outcome) -> None:
    assert outcome_of(error) == outcome


@pytest.mark.parametrize("outcome", ["refused", "limited", "answered", "garbled", "dropped"])
def test_refusals_never_open_it(outcome: Outcome) -> None:
    breaker = Breaker(0.5)
    for now in range(50):
        call(breaker, outcome, now)
    assert breaker.is_closed()


def test_nobody_there_opens_it_at_once_and_one_call_tries_it() -> None:
    breaker = Breaker(0.5)
    call(breaker, "away", 10.0)
    opens = breaker.opens_at(10.0)
    assert opens is not None
    assert opens > 10.0
    breaker.begin()
    assert breaker.opens_at(opens) is None  # the trial runs
    breaker.answers()
    assert breaker.opens_at(opens) == opens
    assert breaker.is_closed()


def test_several_failures_open_it() -> None:
    breaker = Breaker(0.5)
    for _ in range(FAILURES - 1):
        call(breaker, "failed", 1.0)
    assert breaker.is_closed()
    call(breaker, "failed", 1.0)
    assert not breaker.is_closed()


def test_pauses_grow_although_each_answer_begins_well() -> None:
    breaker = Breaker(0.5)
    for _ in range(FAILURES):
        call(breaker, "failed", 1.0)
    first = breaker.opens_at(1.0)
    breaker.begin()
    breaker.answers()  # its head
    breaker.end("failed", 2.0)  # and no more
    second = breaker.opens_at(2.0)
    assert first is not None
    assert second is not None
    assert second - 2.0 > first - 1.0


def test_who_cannot_be_read_is_not_well_for_a_while() -> None:
    breaker = Breaker(0.5)
    for _ in range(FAILURES):
        assert breaker.is_sound(1.0)
        call(breaker, "garbled", 1.0)
    assert not breaker.is_sound(1.0)
    assert breaker.is_sound(1.0 + LONGEST_PAUSE + 0.1)
    call(breaker, "garbled", 20.0)
    assert not breaker.is_sound(20.0)
    call(breaker, "answered", 21.0)
    assert breaker.is_sound(21.0)


def test_a_dropped_trial_lets_the_next_one_try() -> None:
    breaker = Breaker(0.0)
    call(breaker, "away", 0.0)
    call(breaker, "dropped", 5.0)
    assert breaker.opens_at(5.0) == 5.0


@given(st.integers(1, 40), st.floats(0, 1))
def test_its_pauses_grow_to_the_longest(times: int, jitter: float) -> None:
    breaker = Breaker(jitter)
    now = pause = 0.0
    for _ in range(times):
        call(breaker, "away", now)
        opens = breaker.opens_at(now)
        assert opens is not None
        assert opens - now >= pause - 1e-9
        assert opens - now <= LONGEST_PAUSE * 1.25
        now, pause = opens, opens - now


def test_calls_that_ran_when_it_opened_do_not_lengthen_the_pause() -> None:
    breaker = Breaker(0.5)
    for _ in range(8):
        breaker.begin()
    for _ in range(8):
        breaker.end("away", 1.0)
    opens = breaker.opens_at(1.0)
    assert opens is not None
    assert opens < 1.5
