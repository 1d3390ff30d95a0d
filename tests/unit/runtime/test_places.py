"""A place that a task leaves while it waits for a tool."""

import anyio
import pytest

from galerne.messages.ids import TenantId
from galerne.runtime.places import AWAY, Place
from galerne.runtime.slots import Slots

pytestmark = pytest.mark.anyio


def place(slots: Slots) -> Place:
    return Place(slots, TenantId("t"), "normal", lambda: None)


async def test_a_place_that_is_left_is_the_next_ones_and_comes_back() -> None:
    slots = Slots(1, 10.0)
    first, second = place(slots), place(slots)
    assert first.take_now()
    assert not second.take_now()
    first.leave()
    first.leave()  # once is enough
    assert second.take_now()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(first.take)
            await anyio.wait_all_tasks_blocked()
            assert slots.free == 0
            second.leave()
        await first.take()  # ours already
    assert slots.away == 1
    first.end()
    second.end()
    assert (slots.free, slots.away) == (1, 0)


async def test_who_is_stopped_while_it_waits_holds_nothing() -> None:
    slots = Slots(1, 10.0)
    first, second = place(slots), place(slots)
    assert first.take_now()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(second.take)
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
    second.end()
    first.end()
    assert (slots.free, slots.away) == (1, 0)


async def test_only_so_many_are_away_at_once() -> None:
    slots = Slots(1, 10.0)
    many = [place(slots) for _ in range(AWAY + 1)]
    for one in many:
        assert one.take_now()
        one.leave()
    assert slots.away == AWAY
    assert slots.free == 0  # the last one had to stay
    for one in many:
        one.end()
    assert (slots.free, slots.away) == (1, 0)
