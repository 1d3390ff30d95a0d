"""Runs a command's coroutine, on uvloop where that is installed, and turns signals into ends."""

import signal
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import TypeVar

import anyio

from galerne.bus.background import background
from galerne.cli.exits import INTERRUPTED, TERMINATED
from galerne.runtime.supervisor import parent_gone

T = TypeVar("T")


def run_async(function: Callable[[], Awaitable[T]]) -> T:
    """Run `function` to its end. Ctrl-C cancels it and raises KeyboardInterrupt."""
    return anyio.run(function, backend_options={"use_uvloop": find_spec("uvloop") is not None})


class Stopping:
    """Set by the first SIGTERM or SIGINT; `code` is the exit code of that."""

    def __init__(self) -> None:
        self.event = anyio.Event()
        self.code = 0

    def on_signal(self, number: signal.Signals) -> None:
        self.code = self.code or (INTERRUPTED if number == signal.SIGINT else TERMINATED)
        self.event.set()


@asynccontextmanager
async def stop_on_signals() -> AsyncGenerator[Stopping]:
    """Turn the first SIGTERM or SIGINT into a request to stop, the second into the end."""
    stopping = Stopping()

    async def watch() -> None:
        async for number in signals:
            if stopping.event.is_set():
                raise KeyboardInterrupt
            stopping.on_signal(number)

    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with background(watch):
            yield stopping


async def stop_with_parent(parent: int | None, stopping: Stopping) -> None:
    """Ask to stop when process `parent` has died; None: nobody to watch."""
    if parent is None:
        return
    await parent_gone(parent)
    stopping.event.set()
