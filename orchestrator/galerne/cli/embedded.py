"""A whole fleet in this process: a nats-server in a temporary folder and one worker of each role.

It comes up for one job and leaves nothing behind. The parts are the same as in a real fleet and
talk over the same bus; only the processes are missing.
"""

import tempfile
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import msgspec

from galerne.bus.background import background
from galerne.bus.server import nats_server
from galerne.errors import UnavailableError
from galerne.runtime.roles import ROLES, Role, serve
from galerne.settings import Settings

_START = 20.0
"""Seconds until workers that have not started count as broken."""
_DRAIN = 3.0
"""Seconds for the workers to end; nothing of this fleet is needed afterwards."""


@asynccontextmanager
async def embedded_fleet(settings: Settings) -> AsyncGenerator[Settings]:
    """Run the fleet while the context lasts; gives the settings that lead to its server.

    Raises UnavailableError where a part cannot start.
    """
    with tempfile.TemporaryDirectory(prefix="galerne-run-") as folder:
        async with nats_server(Path(folder) / "nats") as server:
            own = msgspec.structs.replace(
                settings,
                bus=msgspec.structs.replace(settings.bus, server=server.url),
                worker=msgspec.structs.replace(settings.worker, spool=str(Path(folder) / "spool")),
            )
            async with _workers(own):
                yield own
            await server.kill()  # its store goes too: nothing there is worth an orderly end


@asynccontextmanager
async def _workers(settings: Settings) -> AsyncGenerator[None]:
    stop = anyio.Event()
    started = {role: anyio.Event() for role in ROLES}
    ended = {role: anyio.Event() for role in ROLES}

    def worker(role: Role) -> Callable[[], Coroutine[Any, Any, None]]:
        async def run() -> None:
            try:
                await serve(role, settings, stop, started[role])
            finally:
                ended[role].set()

        return run

    async with background(*(worker(role) for role in ROLES)):
        with anyio.move_on_after(_START) as limit:
            for event in started.values():
                await event.wait()
        if limit.cancelled_caught:
            missing = ", ".join(role for role in ROLES if not started[role].is_set())
            raise UnavailableError(f"these workers did not start within {_START:g} s: {missing}")
        try:
            yield
        finally:
            stop.set()
            with anyio.move_on_after(_DRAIN):
                for event in ended.values():
                    await event.wait()
