"""A task in flight: who renews its lease, and until when."""

from typing import Any, cast

import anyio
import pytest

from galerne.messages.ids import TenantId
from galerne.runtime.in_flight import InFlight
from galerne.runtime.slots import Slots

pytestmark = pytest.mark.anyio


def flight() -> InFlight:
    made = InFlight(cast("Any", None), Slots(1, 1.0), TenantId("t"), "normal")
    made.lease = cast("Any", object())
    return made


async def test_a_renewal_that_is_about_to_begin_finds_no_lease_once_it_was_let_go() -> None:
    one = flight()
    one.keep_at = 1.0
    assert one.due(2.0)
    one.let_go()  # what was due has not been begun: it would take a parked task back
    assert one.lease is None
    assert not one.due(2.0)


async def test_a_renewal_on_its_way_ends_with_the_attempt() -> None:
    one = flight()
    begun = anyio.Event()

    async def renew() -> None:
        with one.keeping():
            begun.set()
            await anyio.sleep_forever()

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(renew)
            await begun.wait()
            one.keep_at = 0.0
            assert not one.due(1.0)  # somebody is at it
            one.let_go()
    one.keep_at = 0.0
    assert one.due(1.0)  # nobody is any more
