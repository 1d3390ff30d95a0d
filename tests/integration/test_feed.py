"""A task queue that three servers hold, and what wakes it when it hears nothing of the log."""

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from chaos.servers import Cluster
from galerne.bus import feed
from galerne.bus.connection import Bus, connect
from galerne.bus.feed import Fed
from galerne.bus.topology import provision
from galerne.runtime import feed as watching
from galerne.settings import BusSettings, Settings
from integration.fleet import until

pytestmark = pytest.mark.anyio


SAID: list[tuple[dict[str, Any], bool]] = [
    ({"sources": [{"active": 900_000_000}], "cluster": {"replicas": [{}]}}, False),
    ({"sources": [{"active": 7_000_000_000}], "cluster": {"replicas": [{}]}}, True),
    ({"sources": [{"active": -1}], "cluster": {"replicas": [{}, {}]}}, True),
    ({"sources": [{"active": -1}], "cluster": {"leader": "n1"}}, False),
    ({"sources": [{"active": -1}]}, False),
    ({"cluster": {"replicas": [{}]}}, False),
]


@pytest.mark.parametrize(("said", "still"), SAID)
def test_when_it_stands_still(said: dict[str, Any], still: bool) -> None:
    assert msgspec.convert(said, Fed).stands_still is still


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncGenerator[Bus]:
    """Of a cluster with the streams of a fleet."""
    cluster = Cluster(tmp_path)
    try:
        await cluster.start()
        settings = Settings(bus=BusSettings(server=cluster.url, replicas=3, partitions=1))
        async with connect(settings.bus, "test") as bus:
            await provision(bus, settings)
            yield bus
    finally:
        with anyio.CancelScope(shield=True):
            await cluster.stop()


async def test_one_that_hears_nothing_is_led_by_another_server(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def heard() -> bool:
        return not await feed.stands_still(bus)

    await until(heard, "the feed has begun")
    first = await _leader(bus)
    monkeypatch.setattr(watching, "LOOK", 0.05)
    monkeypatch.setattr(feed, "SILENT", -1.0)  # no word is new enough

    async def changed() -> bool:
        return await _leader(bus) not in {first, None}

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watching.look_after_feed, bus, lambda: True)
        await until(changed, "another server leads")
        tasks.cancel_scope.cancel()
    await bus.publish("galerne.ev.0.default.job.ready.executor.normal.1", b"{}")

    async def arrived() -> bool:
        info = await bus.api("STREAM.INFO.GALERNE_TASKS")
        return bool(info["state"]["messages"])

    await until(arrived, "what is ready is queued")


async def _leader(bus: Bus) -> str | None:
    info = await bus.api("STREAM.INFO.GALERNE_TASKS")
    leader: str | None = info["cluster"].get("leader")
    return leader
