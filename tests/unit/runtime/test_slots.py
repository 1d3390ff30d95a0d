"""The places of a worker: fair among tenants, then by priority, and none is ever lost."""

# What is remembered shows only inside.
# pyright: reportPrivateUsage=false

from collections import Counter
from collections.abc import Sequence

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galerne.messages.facts import PRIORITIES, Priority
from galerne.messages.ids import DEFAULT_TENANT, TenantId
from galerne.runtime.slots import REMEMBERED, Slots, Turns, Waiter, room

pytestmark = pytest.mark.anyio

TENANTS = [TenantId(name) for name in "abcde"]
ANN, BOB = TENANTS[:2]


def ignore() -> None:
    return


async def settle() -> None:
    for _ in range(10):
        await anyio.lowlevel.checkpoint()


async def order_of(waiting: Sequence[Priority]) -> list[int]:
    """In which order they get the only place, which is taken when they come."""
    slots, order = Slots(1, 60.0), list[int]()
    await slots.take(DEFAULT_TENANT, "low", ignore)

    async def one(n: int, priority: Priority) -> None:
        await slots.take(DEFAULT_TENANT, priority, ignore)
        order.append(n)
        slots.give(DEFAULT_TENANT)

    async with anyio.create_task_group() as tasks:
        for n, priority in enumerate(waiting):
            tasks.start_soon(one, n, priority)
            await settle()
        slots.give(DEFAULT_TENANT)
    return order


@given(st.lists(st.sampled_from(PRIORITIES), max_size=8))
def test_of_one_tenant_the_most_urgent_first_then_by_arrival(waiting: list[Priority]) -> None:
    expected = sorted(range(len(waiting)), key=lambda n: (PRIORITIES.index(waiting[n]), n))
    assert anyio.run(order_of, waiting) == expected


# whose turn it is


def tenant_of(waiter: Waiter | None) -> TenantId:
    assert waiter is not None
    return waiter.tenant


Event = tuple[str, TenantId, Priority]
EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["arrive", "arrive", "next", "end"]),
        st.sampled_from(TENANTS),
        st.sampled_from(PRIORITIES),
    ),
    max_size=80,
)


@given(EVENTS)
def test_nobody_without_a_running_task_is_passed_over_twice_by_another(
    events: list[Event],
) -> None:
    """So with N tenants, one that waits and has nothing running is passed over N - 1 times."""
    turns, waiting, running = Turns(), Counter[TenantId](), Counter[TenantId]()
    passed: dict[TenantId, Counter[TenantId]] = {}
    for what, tenant, priority in events:
        if what == "arrive":
            turns.arrive(tenant, priority)
            waiting[tenant] += 1
        elif what == "end" and running[tenant]:
            turns.end(tenant)
            running[tenant] -= 1
        elif what == "next" and (chosen := turns.next()) is not None:
            who = chosen.tenant
            for other in TENANTS:
                if waiting[other] and not running[other] and other != who:
                    passed.setdefault(other, Counter())[who] += 1
                    assert passed[other][who] <= 1
                    assert passed[other].total() < len(TENANTS)
            passed.pop(who, None)
            waiting[who] -= 1
            running[who] += 1
            fewest = min(
                running[one] - (one == who) for one in TENANTS if waiting[one] or one == who
            )
            assert running[who] - 1 == fewest
        assert len(turns) == waiting.total()
        assert all(turns.running(one) == running[one] for one in TENANTS)


@given(EVENTS)
def test_whoever_arrives_has_a_turn_once_and_in_its_tenants_own_order(events: list[Event]) -> None:
    turns = Turns()
    arrived = [turns.arrive(tenant, priority) for what, tenant, priority in events if what]
    served = list[Waiter]()
    while (waiter := turns.next()) is not None:
        served.append(waiter)
        turns.end(waiter.tenant)
    assert sorted(served) == sorted(arrived)
    for tenant in TENANTS:
        own = [waiter for waiter in served if waiter.tenant == tenant]
        assert own == sorted(own)


def test_an_urgent_flood_does_not_stand_before_another_tenants_normal_task() -> None:
    turns = Turns()
    for _ in range(1000):
        turns.arrive(ANN, "high")
    assert tenant_of(turns.next()) == ANN
    turns.arrive(BOB, "low")
    assert tenant_of(turns.next()) == BOB


def test_tenants_that_never_come_again_are_forgotten() -> None:
    turns = Turns()
    for n in range(2 * REMEMBERED):
        tenant = TenantId(f"t{n}")
        turns.arrive(tenant, "normal")
        turns.next()
        turns.end(tenant)
    assert len(turns._turn) == len(turns._last) == REMEMBERED
    assert not turns._running
    assert not turns._waiting


# how much is taken in advance


@given(
    size=st.integers(1, 512),
    used=st.integers(0, 512),
    tenants=st.integers(0, 300),
    running=st.integers(0, 512),
)
def test_there_is_always_room_for_one_and_never_for_more_than_is_free(
    size: int, used: int, tenants: int, running: int
) -> None:
    free = max(0, size - used)
    found = room(size=size, free=free, tenants=tenants, running=running)
    assert 1 <= found <= max(1, free)
    more = room(size=size, free=free, tenants=tenants + 1, running=running)
    assert more <= found


def test_a_tenant_alone_may_fill_all_places_at_once() -> None:
    assert room(size=8, free=8, tenants=1, running=0) == 8
    assert room(size=8, free=8, tenants=200, running=0) == 1


# places


async def test_never_more_than_the_size() -> None:
    slots, running, most = Slots(3, 60.0), 0, 0

    async def one(tenant: TenantId) -> None:
        nonlocal running, most
        await slots.take(tenant, "normal", ignore)
        running += 1
        most = max(most, running)
        assert slots.free <= 3 - running
        await settle()
        running -= 1
        slots.give(tenant)

    async with anyio.create_task_group() as tasks:
        for n in range(20):
            tasks.start_soon(one, TENANTS[n % 3])
    assert most == 3
    assert slots.free == 3


async def test_whoever_waits_says_so_now_and_then() -> None:
    slots, kept = Slots(1, 0.01), anyio.Event()
    await slots.take(ANN, "normal", ignore)

    def keep() -> None:
        kept.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(slots.take, ANN, "normal", keep)
        with anyio.fail_after(10):
            await kept.wait()
        slots.give(ANN)


@pytest.mark.parametrize("together", [False, True])
async def test_a_place_survives_the_cancellation_of_who_waits(together: bool) -> None:
    """Also when its turn comes in the same moment."""
    slots = Slots(1, 60.0)
    await slots.take(ANN, "normal", ignore)
    scope = anyio.CancelScope()

    async def waiting() -> None:
        with scope:
            await slots.take(BOB, "high", ignore)
            slots.give(BOB)  # its turn came first

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(waiting)
        await settle()
        if together:
            slots.give(ANN)
            scope.cancel()
        else:
            scope.cancel()
            await settle()
            slots.give(ANN)
    with anyio.fail_after(5):
        await slots.take(ANN, "low", ignore)


async def test_a_keep_that_fails_gives_its_turn_up() -> None:
    slots = Slots(1, 0.01)
    await slots.take(ANN, "normal", ignore)

    def fail() -> None:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        await slots.take(BOB, "normal", fail)
    slots.give(ANN)
    with anyio.fail_after(5):
        await slots.take(ANN, "normal", ignore)
