"""One pacer: its places, its pauses, and the entries of others."""

import math

import pytest

from galerne.errors import RateLimitedError, TransientError, UnavailableError
from galerne.messages.pacing import Learned, Pace
from galerne.models.pacing.choosing import all_away, choose
from galerne.models.pacing.headers import Told
from galerne.models.pacing.pacer import Limits, Pacer


def pacer(rate: float | None = None, concurrency: int | None = None) -> Pacer:
    return Pacer("me", Limits(rate, concurrency), 0.5, 0.0)


def test_every_place_comes_back_however_the_call_ends() -> None:
    one = pacer(concurrency=2)
    for error in (None, RateLimitedError("slow"), UnavailableError("away"), KeyboardInterrupt()):
        one.begin(1.0)
        one.end(1.0, 1.1, error)
    assert one.busy == 0
    one.begin(100.0)
    one.begin(100.0)
    assert one.opening(100.0) == math.inf


def test_a_pause_is_kept_and_told() -> None:
    one = pacer()
    one.begin(1.0)
    one.end(1.0, 1.1, RateLimitedError("slow", retry_after=3.0))
    assert one.opening(1.2) >= 4.1
    assert one.news
    entry = one.entry(1.2)
    other = Pacer("other", Limits(), 0.5, 0.0)
    other.hear("me", entry, 1.2)
    assert other.opening(1.3) >= 4.1
    assert other.learned == one.learned


def test_a_silent_worker_is_forgotten_unless_the_bus_is_away() -> None:
    one = pacer(rate=10.0)
    one.hear("other", Pace(lease=3.5, hungry=True), 0.0)
    one.wait(0.0)
    one.hear("me", one.entry(0.0), 0.0)
    assert one.share.takers == 2
    one.tick(10.0, connected=False)
    assert one.share.takers == 2
    one.tick(13.0, connected=True)
    assert one.share.takers == 2
    one.tick(14.0, connected=True)
    assert one.share.takers == 1


def test_who_leaves_is_forgotten_at_once() -> None:
    one = pacer(rate=10.0)
    one.hear("other", Pace(lease=3.5), 0.0)
    assert one.share.rate == pytest.approx(4.85)
    one.hear("other", None, 0.1)
    assert one.share.rate == pytest.approx(9.7)


def test_an_entry_that_says_nothing_takes_nothing_away() -> None:
    one = pacer()
    one.hear("other", Pace(lease=3.5, learned=Learned()), 0.0)
    assert one.opening(0.1) == 0.1


def test_tokens_limit_the_requests() -> None:
    one = pacer()
    one.hear_told(Told(None, 1000.0), 0.0)
    assert one.share.rate is None  # nobody knows yet what a call costs
    one.begin(0.0)
    one.end(0.0, 0.5, None, 500)
    one.hear("me", one.entry(0.5), 0.5)
    assert one.share.rate == pytest.approx(1.94)


def test_failures_narrow_an_endpoint() -> None:
    one = pacer(concurrency=10)
    for began in (1.0, 1.0, 2.0):
        one.begin(began)
        one.end(began, began + 0.5, TransientError("500"))
    assert one.learned.limit == 4  # once for each round of calls


def test_the_least_loaded_and_healthy_one_is_chosen() -> None:
    one, two, three = (pacer(concurrency=4) for _ in range(3))
    one.begin(1.0)
    two.begin(1.0)
    two.begin(1.0)
    assert choose([one, two], 1.0) == 0
    assert choose([one, two], 1.0, {0}) == 1
    three.begin(1.0)
    three.end(1.0, 1.0, UnavailableError("away"))
    assert choose([three, two], 1.0) == 1
    assert choose([three, two], 9.0) == 1  # the other is on trial only
    assert all_away([three], 1.0) is not None
    assert all_away([three, two], 1.0) is None
    assert all_away([three, two], 1.0, {1}) is not None
