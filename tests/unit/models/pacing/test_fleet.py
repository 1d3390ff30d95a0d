"""A simulated fleet on the strictest endpoint: what all workers together do to it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galerne.models.pacing.headers import Told
from galerne.models.pacing.pacer import Limits
from unit.models.pacing.simulated import SlidingWindow, World

MOST = 10


@pytest.mark.parametrize(
    ("limits", "told", "learning"),
    [(Limits(float(MOST)), None, 2.0), (Limits(), Told(float(MOST)), 5.0), (Limits(), None, 40.0)],
    ids=["by the setting", "by headers", "by refusals alone"],
)
def test_the_rate_is_used_and_hardly_anybody_is_refused(
    limits: Limits, told: Told | None, learning: float
) -> None:
    world = World(8, SlidingWindow(MOST), limits, told=told)
    world.run(learning + 60.0)
    assert world.rate(learning) >= 0.95 * MOST
    assert world.refusals(learning) <= 0.01
    assert world.messages <= 8 * 5 * world.now


def test_all_get_the_same() -> None:
    world = World(8, SlidingWindow(MOST), Limits(float(MOST)))
    world.run(40.0)
    counts = [world.share_of(name, 8.0) for name in world.workers]
    assert max(counts) - min(counts) <= 2


def test_the_share_of_a_dead_worker_comes_back() -> None:
    world = World(8, SlidingWindow(MOST), Limits(float(MOST)))
    world.run(10.0)
    for name in ("w0", "w5"):  # one of them sets the beat
        world.workers[name].alive = False
    world.run(4.0)  # the lease, and a moment
    since = world.now
    world.run(20.0)
    assert world.rate(since) >= 0.95 * MOST
    assert world.refusals(since) <= 0.01


def test_the_share_of_those_who_ask_nothing_is_lent() -> None:
    world = World(8, SlidingWindow(MOST), Limits(float(MOST)))
    for name in list(world.workers)[1:]:
        world.workers[name].wants = lambda _: False
    world.run(20.0)
    assert world.rate(5.0) >= 0.94 * MOST


def test_who_asks_seldom_need_not_wait_for_those_who_ask_always() -> None:
    world = World(8, SlidingWindow(MOST), Limits(float(MOST)))
    seldom = world.workers["w7"]
    seldom.wants = lambda now: seldom.begun < now // 5
    world.run(62.0)
    assert world.share_of("w7", 0.0) == 12
    assert world.rate(5.0) >= 0.95 * MOST
    assert world.refusals(5.0) <= 0.01


def test_a_raised_limit_is_found() -> None:
    world = World(4, SlidingWindow(MOST), Limits())
    world.run(40.0)
    world.endpoint.most = 3 * MOST
    world.run(300.0)
    since = world.now
    world.run(40.0)
    assert world.rate(since) >= 2 * MOST


def test_what_one_learns_all_know() -> None:
    world = World(4, SlidingWindow(MOST), Limits())
    world.run(20.0)
    assert len({worker.pacer.learned for worker in world.workers.values()}) == 1


@pytest.mark.parametrize("limit", [1, 3, 8, 20])
def test_calls_at_once_are_shared(limit: int) -> None:
    world = World(8, SlidingWindow(100_000), Limits(None, limit))
    world.latency = 0.5
    world.run(60.0)
    busy = world.rate(5.0) * world.latency
    assert busy <= limit * 1.05 + 1
    assert busy >= 0.6 * limit
    assert world.most_at_once <= 2 * limit + 2


@settings(max_examples=6, deadline=None)
@given(
    workers=st.integers(1, 12),
    most=st.integers(2, 60),
    deaths=st.lists(st.integers(0, 11), max_size=3),
)
def test_any_fleet_keeps_a_known_limit(workers: int, most: int, deaths: list[int]) -> None:
    world = World(workers, SlidingWindow(most), Limits(float(most)))
    world.run(6.0)
    for death in deaths:
        if sum(worker.alive for worker in world.workers.values()) > 1:
            world.workers[f"w{death % workers}"].alive = False
    world.run(5.0)
    since = world.now
    world.run(10.0)
    assert world.rate(since) >= 0.94 * most - 0.2  # one request more or less in ten seconds
    assert world.refusals(since) <= 0.01
