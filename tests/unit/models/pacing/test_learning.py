"""What is learnt stays within bounds, and all workers agree on it in whatever order they hear."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from galerne.messages.pacing import Learned
from galerne.models.pacing import learning
from galerne.models.pacing.learning import LEAST_RATE, MARGIN, MOST

rates = st.none() | st.floats(LEAST_RATE, 10_000)
learned_things = st.builds(
    Learned,
    version=st.integers(0, 5),
    rate=rates,
    ceiling=rates,
    told=rates,
    tokens=rates,
    limit=st.integers(1, MOST),
)


@given(learned_things, learned_things, learned_things)
def test_all_agree_in_any_order(one: Learned, two: Learned, three: Learned) -> None:
    merge = learning.merge
    assert merge(one, two) == merge(two, one)
    assert merge(merge(one, two), three) == merge(one, merge(two, three))
    assert merge(one, one) == one


@given(learned_things, st.floats(0, 10_000), st.floats(0, 600))
def test_every_change_has_a_higher_version(known: Learned, accepted: float, quiet: float) -> None:
    for changed in (
        learning.cut(known, accepted),
        learning.climb(known, quiet),
        learning.overloaded(known),
        learning.widen(known, None),
        learning.hear_told(known, 5.0, None, None),
    ):
        assert changed == known or changed.version == known.version + 1
        assert changed.limit >= 1
        assert changed.rate is None or changed.rate >= LEAST_RATE


@given(st.floats(0.1, 1000), st.floats(0, 1000))
def test_a_refusal_lowers_the_rate_and_time_brings_it_back(rate: float, accepted: float) -> None:
    told = learning.first(rate, None)
    cut = learning.cut(told, accepted)
    assert cut.rate is not None
    assert told.rate is not None
    assert cut.rate < told.rate
    for second in range(600):
        cut = learning.climb(cut, float(second))
    assert cut.rate is not None
    assert abs(cut.rate - rate * MARGIN) < 1e-6 * rate  # and no further


def test_the_users_own_limit_is_never_exceeded() -> None:
    known = learning.hear_told(learning.first(5.0, None), 100.0, None, 5.0)
    assert known.rate == 5.0 * MARGIN
    assert learning.hear_told(known, 2.0, None, 5.0).rate == 2.0 * MARGIN


def test_calls_at_once_grow_by_little_and_shrink_by_much() -> None:
    known = learning.first(None, None)
    assert learning.overloaded(known).limit == 44
    assert learning.widen(known, None).limit == 68
    assert learning.widen(learning.first(None, 4), 4).limit == 4
    for _ in range(50):
        known = learning.overloaded(known)
    assert known.limit == 1


def test_the_same_news_is_no_news() -> None:
    known = learning.hear_told(learning.first(None, None), 10.0, 1000.0, None)
    assert learning.hear_told(known, 10.0, 1000.0, None) is known
    assert msgspec.json.decode(msgspec.json.encode(known), type=Learned) == known
