"""A tool worker whose tools change while it runs: a host for each set of them.

    the first set ─▶ served ─▶ the set is another ─▶ a second host beside the first, with a name
    and a connection of its own ─▶ once it serves, the first one drains and leaves
    a set that cannot be served ─▶ the host before goes on, and the log says why

So a change looks from outside as a deploy does: two workers for a while, and no call is lost.
"""

from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any

import anyio

from galerne.bus.background import background
from galerne.errors import GalerneError
from galerne.logs import get_logger
from galerne.tools import AnyTool, LiveTools

log = get_logger("galerne.runtime.tools")

LEAST = 2.0
"""Seconds between two changes: a source that changes its mind all the time must not take all of
a worker's."""


Serves = Callable[[Mapping[str, AnyTool], anyio.Event, anyio.Event], Coroutine[Any, Any, None]]
"""One host from beginning to end, as `ToolHost.run`: given its tools, what stops it, and what it
sets when it serves."""


class _Host:
    """One set that is served; `over` is set when it has ended by itself or otherwise."""

    def __init__(self, tools: Mapping[str, AnyTool], serves: Serves) -> None:
        self.stop = anyio.Event()
        self.over = anyio.Event()
        self._started = anyio.Event()
        self._tools = tools
        self._serves = serves

    async def run(self) -> None:
        """Raises what the host raises."""
        try:
            await self._serves(self._tools, self.stop, self._started)
        finally:
            self.over.set()

    async def run_later_one(self) -> None:
        """As `run`; one that cannot serve is logged, because another one still does."""
        try:
            await self.run()
        except GalerneError as error:
            if self._started.is_set():
                raise
            log.error("the changed tools cannot be served", why=str(error))  # noqa: TRY400 - the sentence says it all

    async def serves(self) -> bool:
        """Wait until it serves; False where it has ended before."""
        await _first_of(self._started.wait, self.over.wait)
        return self._started.is_set()


async def serve_generations(
    live: LiveTools, stop: anyio.Event, started: anyio.Event, first: Serves, later: Serves
) -> None:
    """Serve what `live` has until `stop` is set, then drain; `started` is set when it serves.

    Raises what the `first` host raises, and a later one after it has served.
    """
    async with background() as hosts:
        tools = live.now()
        host = _Host(tools, first)
        begun = [host]
        hosts.start_soon(host.run)
        if await host.serves():
            started.set()
        while not (stop.is_set() or host.over.is_set()):
            await _first_of(stop.wait, host.over.wait, partial(live.changed, tools))
            if stop.is_set() or host.over.is_set():
                break
            tools = live.now()
            successor = _Host(tools, later)
            hosts.start_soon(successor.run_later_one)
            begun = [*(one for one in begun if not one.over.is_set()), successor]
            if await successor.serves():
                host.stop.set()
                host = successor
            await _first_of(stop.wait, partial(anyio.sleep, LEAST))
        host.stop.set()
        for one in begun:
            await one.over.wait()


async def _first_of(*waits: Callable[[], Coroutine[Any, Any, Any]]) -> None:
    """Wait until one of them has ended."""
    async with anyio.create_task_group() as tasks:

        async def end_all(wait: Callable[[], Coroutine[Any, Any, Any]]) -> None:
            await wait()
            tasks.cancel_scope.cancel()

        for wait in waits:
            tasks.start_soon(end_all, wait)
