"""The places of a worker: by priority, then by arrival, and none is ever lost."""

from collections.abc import Sequence

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galerne.messages.facts import PRIORITIES, Priority
from galerne.runtime.slots import Slots

pytestmark = pytest.mark.anyio


async def ignore() -> None:
    return


async def settle() -> None:
    for _ in range(10):
        await anyio.lowlevel.checkpoint()


async def order_of(waiting: Sequence[Priority]) -> list[int]:
    """In which order they get the only place, which is taken when they come."""
    slots, order = Slots(1, 60.0), list[int]()
    await slots.take("low", ignore)

    async def one(n: int, priority: Priority) -> None:
        await slots.take(priority, ignore)
        order.append(n)
        slots.give()

    async with anyio.create_task_group() as tasks:
        for n, priority in enumerate(waiting):
            tasks.start_soon(one, n, priority)
            await settle()
        slots.give()
    return order


@given(st.lists(st.sampled_from(PRIORITIES), max_size=8))
def test_the_most_urgent_first_then_by_arrival(waiting: list[Priority]) -> None:
    expected = sorted(range(len(waiting)), key=lambda n: (PRIORITIES.index(waiting[n]), n))
    assert anyio.run(order_of, waiting) == expected


async def test_never_more_than_the_size() -> None:
    slots, running, most = Slots(3, 60.0), 0, 0

    async def one() -> None:
        nonlocal running, most
        await slots.take("normal", ignore)
        running += 1
        most = max(most, running)
        await settle()
        running -= 1
        slots.give()

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(one)
    assert most == 3


async def test_whoever_waits_says_so_now_and_then() -> None:
    slots, kept = Slots(1, 0.01), anyio.Event()
    await slots.take("normal", ignore)

    async def keep() -> None:
        kept.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(slots.take, "normal", keep)
        with anyio.fail_after(10):
            await kept.wait()
        slots.give()


@pytest.mark.parametrize("together", [False, True])
async def test_a_place_survives_the_cancellation_of_who_waits(together: bool) -> None:
    """Also when its turn comes in the same moment."""
    slots = Slots(1, 60.0)
    await slots.take("normal", ignore)
    scope = anyio.CancelScope()

    async def waiting() -> None:
        with scope:
            await slots.take("high", ignore)
            slots.give()  # its turn came first

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(waiting)
        await settle()
        if together:
            slots.give()
            scope.cancel()
        else:
            scope.cancel()
            await settle()
            slots.give()
    with anyio.fail_after(5):
        await slots.take("low", ignore)


async def test_a_keep_that_fails_gives_its_turn_up() -> None:
    slots = Slots(1, 0.01)
    await slots.take("normal", ignore)

    async def fail() -> None:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        await slots.take("normal", fail)
    slots.give()
    with anyio.fail_after(5):
        await slots.take("normal", ignore)
