"""The standing pull: everything arrives, in its window, across restarts, and it ends when told."""

# What a crash leaves behind shows only inside.
# pyright: reportPrivateUsage=false

from collections import Counter
from typing import Any

import anyio
import msgspec
import pytest
from structlog.testing import capture_logs

from galerne.bus import wire
from galerne.bus.queue import Delivery, StandingPull
from galerne.bus.server import NatsServer
from galerne.bus.topology import provision
from galerne.settings import Settings
from integration.fleet import Fleet, eventually, fleet_on, pulling, ready, silence

pytestmark = pytest.mark.anyio

LANE = "executor-normal-default"
RESTARTED = 15.0
"""Seconds until a server that was killed has filled the queue again with all that it will."""


async def fill(fleet: Fleet, count: int, start: int = 0) -> None:
    async with anyio.create_task_group() as tasks:
        for n in range(start, start + count):
            tasks.start_soon(fleet.put, "job", ready(f"t{n}"))


def name_of(delivery: Delivery) -> str:
    return delivery.subject.rpartition(".")[2]


@pytest.fixture(params=["short", "long"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the inside of nats-py, and through its public face alone."""
    monkeypatch.setattr(wire, "is_known", lambda: request.param == "short")


@pytest.mark.usefixtures("way")
async def test_two_thousand_arrive_once_each(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        got: Counter[str] = Counter()

        def take(delivery: Delivery) -> None:
            got[name_of(delivery)] += 1
            delivery.ack()

        async with pulling(fleet.bus, "TASKS", LANE, take):
            await fill(fleet, 2000)
            await eventually(lambda: len(got) == 2000, "all have arrived")
            await fleet.emptied("TASKS", LANE)
        assert set(got.values()) == {1}


@pytest.mark.usefixtures("way")
async def test_all_arrive_across_a_kill(server: NatsServer, settings: Settings) -> None:
    """What the server has put into the queue; what it may skip then is queued anew (ADR 6)."""
    async with fleet_on(settings) as fleet:
        got: Counter[str] = Counter()

        def take(delivery: Delivery) -> None:
            got[name_of(delivery)] += 1
            delivery.ack()

        async with pulling(fleet.bus, "TASKS", LANE, take):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(fill, fleet, 2000)
                await eventually(lambda: len(got) > 300, "some have arrived")
                await server.kill()
                await server.start()
            with anyio.move_on_after(RESTARTED):
                await eventually(lambda: len(got) == 2000, "all have arrived")
            await fleet.emptied("TASKS", LANE)
            for name in {f"t{n}" for n in range(2000)} - got.keys():
                await fleet.put("job", msgspec.structs.replace(ready(name), again=1))
            await eventually(lambda: len(got) == 2000, "all have arrived")
            await fleet.emptied("TASKS", LANE)


async def test_an_idle_pull_survives_restarts(server: NatsServer, settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        got: list[str] = []

        def take(delivery: Delivery) -> None:
            got.append(name_of(delivery))
            delivery.ack()

        async with pulling(fleet.bus, "TASKS", LANE, take):
            for n, end in enumerate((server.kill, server.stop)):
                await fill(fleet, 1, n)
                await eventually(lambda n=n: f"t{n}" in got, "it arrives before the restart")  # type: ignore[misc]
                await end()
                await server.start()
            await fill(fleet, 1, 9)
            await eventually(lambda: "t9" in got, "it arrives after the restarts")


async def test_the_window_is_kept_by_hand(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        held: list[Delivery] = []

        def take(delivery: Delivery) -> None:
            held.append(delivery)

        await fill(fleet, 30)
        async with pulling(fleet.bus, "TASKS", LANE, take, window=5, manual=True) as pull:
            seen = 0
            while seen < 30:
                await eventually(lambda: len(held) >= min(5, 30 - seen), "the window is full")  # noqa: B023
                assert len(held) <= 5
                assert pull.held == len(held)
                for delivery in held[:3]:
                    delivery.ack()
                    pull.release()
                    seen += 1
                del held[:3]
            await fleet.emptied("TASKS", LANE)


async def test_a_window_of_one_goes_on(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        got: list[str] = []
        await fill(fleet, 50)

        def take(delivery: Delivery) -> None:
            got.append(name_of(delivery))
            delivery.ack()
            pull.release()

        async with pulling(fleet.bus, "TASKS", LANE, take, window=1, manual=True) as pull:
            await eventually(lambda: len(got) == 50, "all have arrived", patience=10)


async def test_stop_ends_it_and_loses_nothing(settings: Settings) -> None:
    """What the server was sending is handed over, not left to its `ack_wait`."""
    async with fleet_on(settings) as fleet:
        got: list[str] = []
        await fill(fleet, 200)
        pull: StandingPull

        def take(delivery: Delivery) -> None:
            got.append(name_of(delivery))
            delivery.ack()
            pull.stop()

        stream = fleet.bus.subjects.stream("TASKS")
        pull = StandingPull(fleet.bus, stream, LANE, 64, take)
        with anyio.fail_after(10):
            await pull.run()
        count = len(got)
        info = await fleet.bus.api(f"CONSUMER.INFO.{stream}.{LANE}")
        assert info["delivered"]["consumer_seq"] == count
        await fill(fleet, 1, 900)
        assert len(got) == count
        async with pulling(fleet.bus, "TASKS", LANE, take):
            await eventually(lambda: len(set(got)) == 201, "the others have arrived")


async def test_what_is_not_acknowledged_comes_again(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        got: list[int] = []
        await fill(fleet, 1)

        def take(delivery: Delivery) -> None:
            got.append(delivery.delivered)
            match delivery.delivered:
                case 1:
                    delivery.retry()
                case 2:
                    delivery.retry(0.05)
                case 3:
                    return  # silence: it comes again after `ack_wait`
                case _:
                    delivery.discard("a reason\nin two lines")

        async with pulling(fleet.bus, "TASKS", LANE, take):
            await eventually(lambda: len(got) == 4, "it has come four times")
            await fleet.emptied("TASKS", LANE)
        assert got == [1, 2, 3, 4]


async def test_a_message_that_is_kept_does_not_come_again(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        got: list[Delivery] = []
        await fill(fleet, 1)

        def take(delivery: Delivery) -> None:
            got.append(delivery)

        async with pulling(fleet.bus, "TASKS", LANE, take, manual=True):
            await eventually(lambda: bool(got), "it is here")
            with anyio.move_on_after(settings.worker.lease * 1.6):
                while True:
                    got[0].keep()
                    await anyio.sleep(settings.worker.lease / 5)
            assert len(got) == 1
            got[0].ack()
            await fleet.emptied("TASKS", LANE)


async def test_a_callback_that_raises_does_not_end_it(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        got: list[str] = []
        await fill(fleet, 10)

        def take(delivery: Delivery) -> None:
            got.append(name_of(delivery))
            delivery.ack()
            raise ValueError(name_of(delivery))

        async with pulling(fleet.bus, "TASKS", LANE, take, window=2):
            await eventually(lambda: len(got) == 10, "all have arrived")


async def test_a_deleted_consumer_is_said_and_a_new_one_is_found(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        got: list[str] = []

        def take(delivery: Delivery) -> None:
            got.append(name_of(delivery))
            delivery.ack()

        stream = fleet.bus.subjects.stream("TASKS")
        with capture_logs() as logs:
            async with pulling(fleet.bus, "TASKS", LANE, take):
                await fill(fleet, 1)
                await eventually(lambda: got == ["t0"], "it pulls")
                await fleet.emptied("TASKS", LANE)
                await fleet.bus.api(f"CONSUMER.DELETE.{stream}.{LANE}")
                await eventually(lambda: bool(warnings(logs)), "it is said")
                await fill(fleet, 1, 1)
                await provision(fleet.bus, settings)
                await eventually(lambda: "t1" in got, "it pulls again")
        assert got == ["t0", "t1"]
        (warning,) = warnings(logs)
        assert LANE in str(warning)


def warnings(logs: list[Any]) -> list[Any]:
    return [line for line in logs if line["log_level"] == "warning"]


async def test_a_consumer_that_was_never_there_is_said_once(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:

        def take(delivery: Delivery) -> None:
            raise AssertionError(delivery.subject)

        with capture_logs() as logs:
            async with pulling(fleet.bus, "TASKS", "nobody", take):
                await eventually(lambda: bool(warnings(logs)), "it is said")
                await anyio.sleep(0.5)
        assert len(warnings(logs)) == 1


async def test_a_restart_says_nothing_about_consumers(
    server: NatsServer, settings: Settings
) -> None:
    async with fleet_on(settings) as fleet:
        got: list[str] = []

        def take(delivery: Delivery) -> None:
            got.append(name_of(delivery))
            delivery.ack()

        with capture_logs() as logs:
            async with pulling(fleet.bus, "TASKS", LANE, take):
                await server.kill()
                await server.start()
                await fill(fleet, 1)
                await eventually(lambda: got == ["t0"], "it pulls again")
        assert not warnings(logs)


async def test_cancelling_it_is_clean(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:

        def take(delivery: Delivery) -> None:
            delivery.ack()

        async with pulling(fleet.bus, "TASKS", LANE, take):
            await fill(fleet, 5)
        assert not fleet.bus._reconnected


async def test_a_lost_connection_costs_acknowledgements_and_no_errors(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        got: list[Delivery] = []

        def take(delivery: Delivery) -> None:
            got.append(delivery)

        async with pulling(fleet.bus, "TASKS", LANE, take):
            await fill(fleet, 1)
            await eventually(lambda: bool(got), "it is here")
        silence(fleet.bus)
        for answer in (got[0].ack, got[0].retry, got[0].keep):
            answer()
        got[0].discard("why not")
