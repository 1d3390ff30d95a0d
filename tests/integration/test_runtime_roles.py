"""The four roles as they are really put together, with the stand-in for a model."""

# What a crash leaves behind shows only inside.
# pyright: reportPrivateUsage=false

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import msgspec
import pytest

from galerne.agent import load_agents
from galerne.bus.connection import Bus, connect
from galerne.errors import UnavailableError
from galerne.messages.facts import Ended
from galerne.models.standin import StandIn, StandInSettings
from galerne.runtime import roles
from galerne.runtime.roles import ROLES, Role, serve, worker_name
from galerne.settings import BusSettings, RoleSettings, Settings, ToolSettings
from integration.fleet import PATIENCE, fleet_on

pytestmark = pytest.mark.anyio


def spool_files(settings: Settings) -> list[Path]:
    return list(Path(settings.worker.spool or "").rglob("*.spool"))


async def test_a_job_goes_to_its_end_and_all_roles_end_when_told(
    settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "two.txt").write_text("two words\n")
    stop = anyio.Event()
    async with StandIn(StandInSettings()) as model, fleet_on(settings) as fleet:
        role = RoleSettings(endpoint=model.url)
        own: Settings = msgspec.structs.replace(
            settings,
            planner=role,
            executor=role,
            tools=ToolSettings(root=str(tmp_path), heartbeat=0.1),
        )
        ended: Ended | None = None
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as tasks:
                for name in ROLES:
                    started = anyio.Event()
                    tasks.start_soon(serve, name, own, stop, started)
                    await started.wait()
                await fleet.submit("job", "Count the words in two.txt")
                ended = await fleet.end("job")
                stop.set()
        assert ended is not None
        assert ended.status == "succeeded", ended
        assert "2" in str(ended.result)
        assert not spool_files(settings)


@pytest.mark.parametrize("role", ROLES)
async def test_a_connection_closed_for_good_ends_the_process(
    settings: Settings, role: Role, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a server withdraws the credentials in mid-life."""
    stop, started = anyio.Event(), anyio.Event()
    ended: list[Exception] = []
    buses: list[Bus] = []
    model = RoleSettings(endpoint="http://127.0.0.1:9")
    own: Settings = msgspec.structs.replace(settings, planner=model, executor=model)

    @asynccontextmanager
    async def remembering(bus_settings: BusSettings, name: str) -> AsyncGenerator[Bus]:
        async with connect(bus_settings, name) as bus:
            buses.append(bus)
            yield bus

    monkeypatch.setattr(roles, "connect", remembering)

    async def live() -> None:
        try:
            await serve(role, own, stop, started)
        except UnavailableError as error:
            ended.append(error)

    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(live)
            await started.wait()
            await buses[0]._client._process_err("'authorization violation'")
    assert len(ended) == 1
    assert "for good" in str(ended[0])


def test_a_name_is_fit_for_a_subject_and_new_each_time() -> None:
    names = {worker_name("executor") for _ in range(100)}
    assert len(names) == 100
    assert all(name.replace("-", "").isalnum() for name in names)


def test_the_installed_agents_serve_both_lanes() -> None:
    assert set(load_agents("planner")) == {"plan", "answer"}
    assert set(load_agents("executor")) == {"agent", "tool"}
