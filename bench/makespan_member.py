"""One process of the fleet whose makespan is measured: `ROLE SERVER SPOOL MODELS`.

Everything is what a user's fleet has, settings included, but for the number of tasks and of model
calls at once: with 64 jobs of six tasks it is the pace of models and tools that is to limit them,
and not the places. Without that number the two roles share the 64 calls at once that a fleet begins
with at an endpoint of which nothing is known.
"""

import sys
import time
from functools import partial
from pathlib import Path

import anyio

from galerne.bus.background import background
from galerne.bus.connection import connect
from galerne.bus.topology import provision
from galerne.cli.logs import configure
from galerne.cli.runner import Stopping, run_service
from galerne.runtime.roles import ROLES, Role, serve, worker_name
from galerne.runtime.spool import Spool
from galerne.runtime.tool_host import ToolHost
from galerne.settings import BusSettings, RoleSettings, Settings, ToolSettings, WorkerSettings
from galerne.tools import tool

_ROLES: dict[str, Role] = {role: role for role in ROLES}
PLACES = 512


@tool
async def pause(name: str, seconds: float) -> str:
    """Wait for some time."""
    await anyio.sleep(seconds)
    return name


def settings_of(server: str, spool: str, models: str) -> Settings:
    role = RoleSettings(endpoint=models, model="paced", backend="openai", concurrency=PLACES)
    return Settings(
        bus=BusSettings(server=server),
        planner=role,
        executor=role,
        worker=WorkerSettings(spool=spool, concurrency=PLACES),
        tools=ToolSettings(concurrency=PLACES),
    )


async def _work(role: Role, settings: Settings, stopping: Stopping) -> int:
    started = anyio.Event()

    async def say_ready() -> None:
        await started.wait()
        sys.stdout.write("ready\n")
        sys.stdout.flush()

    async with background(say_ready):
        if role == "tools":
            await _serve_tools(settings, stopping.event, started)
        else:
            await serve(role, settings, stopping.event, started)
    return 0


async def _serve_tools(settings: Settings, stop: anyio.Event, started: anyio.Event) -> None:
    me = worker_name("tools")
    async with connect(settings.bus, me) as bus:
        await provision(bus, settings)
        spool = Spool(Path(settings.worker.spool or ""), me)
        spool.open()
        try:
            host = ToolHost(bus, me, {"pause": pause}, spool, settings, time.time)
            await host.run(stop, started)
        finally:
            spool.close()


def main() -> int:
    role, server, spool, models = sys.argv[1:]
    configure("error", "json")
    return run_service(partial(_work, _ROLES[role], settings_of(server, spool, models)))


if __name__ == "__main__":
    sys.exit(main())
