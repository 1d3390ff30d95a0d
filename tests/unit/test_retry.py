"""Pauses between tries: doubled, limited, jittered; and what settings may say of them."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galerne.errors import InvalidSettingsError
from galerne.retry import RetryPolicy, policy_for
from galerne.settings import WorkerSettings, retry_policies

HALF = RetryPolicy(0.5, 30.0)


@given(
    st.integers(1, 10**6),
    st.floats(min_value=1e-3, max_value=60),
    st.floats(0, 1),
    st.none() | st.floats(min_value=0, max_value=3600),
)
@settings(max_examples=200)
def test_a_retry_waits_within_its_bounds(
    attempt: int, base: float, jitter: float, asked: float | None
) -> None:
    delay = RetryPolicy(base, 30.0 if base < 30 else base).delay(attempt, jitter, asked)
    whole = min(base * 2.0 ** min(attempt - 1, 40), max(base, 30.0))
    assert delay >= (asked or 0.0)
    assert whole / 2 <= delay <= max(whole, asked or 0.0)
    assert RetryPolicy(base, 30.0 if base < 30 else base).delay(attempt + 1, jitter, asked) >= delay


def test_a_retry_doubles_its_delay_up_to_the_limit() -> None:
    waits = [HALF.delay(attempt, 1.0, None) for attempt in range(1, 9)]
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert [HALF.delay(n, 0.0, None) for n in (1, 7)] == [0.25, 15.0]
    assert HALF.delay(1, 0.3, 45.0) == 45.0


def test_retries_of_many_tasks_are_spread() -> None:
    chance = Random(7)
    assert len({HALF.delay(3, chance.random(), None) for _ in range(100)}) == 100


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("0.5s..30s", RetryPolicy(0.5, 30.0)),
        ("1..2 x3", RetryPolicy(1.0, 2.0, 3)),
        (" 0.25..0.25s x1 ", RetryPolicy(0.25, 0.25, 1)),
    ],
)
def test_a_policy_is_read_from_text(text: str, policy: RetryPolicy) -> None:
    assert RetryPolicy.parse(text) == policy


@pytest.mark.parametrize("text", ["", "5", "3..1", "1..2 x0", "1..2x", "a..b", "1..2 x-1", "1...2"])
def test_nonsense_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InvalidSettingsError, match=r"as in \"0.5s..30s x6\""):
        RetryPolicy.parse(text)


def test_attempts_are_limited_by_the_class_and_by_the_task() -> None:
    assert RetryPolicy(1, 2).may_try_again(5, most=6)
    assert not RetryPolicy(1, 2).may_try_again(6, most=6)
    assert not RetryPolicy(1, 2, attempts=3).may_try_again(3, most=6)
    assert not RetryPolicy(1, 2, attempts=9).may_try_again(6, most=6)


def test_every_class_of_error_has_a_policy() -> None:
    policies = retry_policies(WorkerSettings(retry_bad_answer="1s..2s x2"))
    assert policy_for(policies, "bad_answer").attempts == 2
    assert policy_for(policies, "rate_limited") == policy_for(policies, "unavailable")
    assert policy_for(policies, "unheard_of") == policies["other"]
