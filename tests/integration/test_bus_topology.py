"""Provisioning: made once however many start at once, and asserted ever after."""

from typing import Any

import anyio
import msgspec
import pytest

from galerne.bus.connection import Bus, connect
from galerne.bus.topology import consumers, provision, streams
from galerne.errors import InvalidSettingsError
from galerne.settings import BusSettings, Settings
from integration.fleet import fleet_on

pytestmark = pytest.mark.anyio


def with_bus(settings: Settings, **changes: Any) -> Settings:
    bus: BusSettings = msgspec.structs.replace(settings.bus, **changes)
    return msgspec.structs.replace(settings, bus=bus)


async def stream_names(bus: Bus) -> set[str]:
    return set((await bus.api("STREAM.NAMES"))["streams"])


async def consumer_names(bus: Bus, stream: str) -> set[str]:
    return set((await bus.api(f"CONSUMER.NAMES.{stream}"))["consumers"] or ())


async def test_two_connections_at_once_make_it_once(settings: Settings) -> None:
    async with connect(settings.bus, "a") as one, connect(settings.bus, "b") as two:
        async with anyio.create_task_group() as tasks:
            for bus in (one, two, one, two):
                tasks.start_soon(provision, bus, settings)
        wanted = {stream["name"] for stream in streams(one.subjects, settings)}
        assert await stream_names(one) == wanted
        found = {(stream, name) for stream in wanted for name in await consumer_names(one, stream)}
        assert found == {
            (stream, consumer["name"]) for stream, consumer in consumers(one.subjects, settings)
        }


async def test_provisioning_again_changes_nothing(settings: Settings) -> None:
    async with connect(settings.bus, "a") as bus:
        await provision(bus, settings)
        events = bus.subjects.stream("EVENTS")
        before = (await bus.api(f"STREAM.INFO.{events}"))["config"]
        await provision(bus, settings)
        assert (await bus.api(f"STREAM.INFO.{events}"))["config"] == before


async def test_other_partitions_are_refused_with_both_numbers(settings: Settings) -> None:
    async with connect(settings.bus, "a") as bus:
        await provision(bus, settings)
    more = with_bus(settings, partitions=5)
    async with connect(more.bus, "b") as bus:
        with pytest.raises(InvalidSettingsError, match="with 2 partitions, the settings say 5"):
            await provision(bus, more)


async def test_another_prefix_stands_beside_it(settings: Settings) -> None:
    other = with_bus(settings, prefix="galerne.two", partitions=3)
    async with fleet_on(settings) as first, fleet_on(other) as second:
        names = await stream_names(first.bus)
        assert {"GALERNE_EVENTS", "GALERNE_TWO_EVENTS"} <= names
        await first.submit("job", "one")
        await second.submit("job", "two")
        for fleet in (first, second):
            assert await fleet.pending("SUBMIT", "admit-default") == 1


async def test_a_prefix_that_names_the_same_streams_is_refused(settings: Settings) -> None:
    async with connect(settings.bus, "a") as bus:
        await provision(bus, settings)
        before = await bus.api("STREAM.INFO.GALERNE_EVENTS")
    shouting = with_bus(settings, prefix="Galerne")
    async with connect(shouting.bus, "b") as bus:
        with pytest.raises(InvalidSettingsError, match=r"GALERNE_SUBMIT.*bus\.prefix"):
            await provision(bus, shouting)
        after = await bus.api("STREAM.INFO.GALERNE_EVENTS")
        assert after["config"] == before["config"]


async def test_a_consumer_with_another_filter_is_put_right(settings: Settings) -> None:
    async with connect(settings.bus, "a") as bus:
        await provision(bus, settings)
        body = {
            "stream_name": "GALERNE_EVENTS",
            "config": {
                "durable_name": "part-0",
                "ack_policy": "explicit",
                "filter_subject": "galerne.ev.1.>",
                "max_waiting": 1024,
            },
        }
        await bus.api("CONSUMER.DELETE.GALERNE_EVENTS.part-0")
        await bus.api("CONSUMER.DURABLE.CREATE.GALERNE_EVENTS.part-0", body)
        await provision(bus, settings)
        config = (await bus.api("CONSUMER.INFO.GALERNE_EVENTS.part-0"))["config"]
        assert "filter_subject" not in config
        assert "galerne.ev.0.*.*.submitted" in config["filter_subjects"]


async def test_a_consumer_that_cannot_be_put_right_is_named(settings: Settings) -> None:
    async with connect(settings.bus, "a") as bus:
        await provision(bus, settings)
        body = {
            "stream_name": "GALERNE_EVENTS",
            "config": {
                "durable_name": "part-1",
                "ack_policy": "explicit",
                "deliver_policy": "new",
                "filter_subject": "galerne.ev.0.>",
            },
        }
        await bus.api("CONSUMER.DELETE.GALERNE_EVENTS.part-1")
        await bus.api("CONSUMER.DURABLE.CREATE.GALERNE_EVENTS.part-1", body)
        with pytest.raises(InvalidSettingsError, match="consumer part-1 of GALERNE_EVENTS"):
            await provision(bus, settings)


async def test_changed_limits_are_brought_up_to_date(settings: Settings) -> None:
    async with connect(settings.bus, "a") as bus:
        await provision(bus, settings)
        patient = msgspec.structs.replace(
            with_bus(settings, backlog=7),
            worker=msgspec.structs.replace(settings.worker, lease=9.0),
        )
        await provision(bus, patient)
        config = (await bus.api("STREAM.INFO.GALERNE_SUBMIT"))["config"]
        assert config["max_msgs_per_subject"] == 7 + settings.tenants.active
        config = (await bus.api("CONSUMER.INFO.GALERNE_TASKS.executor-high-default"))["config"]
        assert config["ack_wait"] == 9_000_000_000
