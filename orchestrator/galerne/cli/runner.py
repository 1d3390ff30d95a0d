"""Runs a command's coroutine, on uvloop where that is installed, and turns signals into ends.

A command ends at once: the first SIGINT or SIGTERM cancels it, and whatever goes wrong while it
unwinds is of no interest any more. A service (`worker`, `up`, `stand-in`) is asked to stop, which
is its success; only a second signal cancels it.
"""

import gc
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from importlib.util import find_spec

import anyio

from galerne.bus.background import background
from galerne.cli.exits import INTERRUPTED, TERMINATED, SilentExit
from galerne.runtime.supervisor import parent_gone

GARBAGE = 20_000
"""New objects after which a service looks for cycles among them: of 700, the default, thousands of
messages a second leave some alive each time, which are then looked at again and again."""

Main = Callable[[], Awaitable[int]]


def run_command(function: Main) -> int:
    """Run `function` to its end; gives its exit code. Raises SilentExit when a signal came."""
    return _run(partial(_interruptible, function))


def run_service(function: Callable[["Stopping"], Awaitable[int]]) -> int:
    """Run `function`, which ends by itself some time after `Stopping.event` is set."""
    gc.freeze()  # what is loaded stays
    gc.set_threshold(GARBAGE)
    return _run(partial(_stoppable, function))


def _run(function: Main) -> int:
    return anyio.run(function, backend_options={"use_uvloop": find_spec("uvloop") is not None})


async def _interruptible(function: Main) -> int:
    came: list[signal.Signals] = []
    code = 0

    async def watch() -> None:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for number in signals:
                came.append(number)
                tasks.cancel_scope.cancel()
                return  # a second Ctrl-C then interrupts the interpreter itself

    try:
        async with background(watch) as tasks:
            code = await function()
    except Exception:
        if not came:
            raise
    if came:
        raise SilentExit(code_of(came[0]))
    return code


class Stopping:
    """What a service watches: `event` is set by the first signal."""

    def __init__(self) -> None:
        self.event = anyio.Event()


async def _stoppable(function: Callable[[Stopping], Awaitable[int]]) -> int:
    stopping = Stopping()
    codes: list[int] = []

    async def watch() -> None:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for number in signals:
                if stopping.event.is_set():
                    codes.append(code_of(number))
                    tasks.cancel_scope.cancel()
                    return
                stopping.event.set()

    async with background(watch) as tasks:
        codes.insert(0, await function(stopping))
    return codes[0]


def code_of(number: signal.Signals) -> int:
    """The exit code after a signal, as shells have it."""
    return INTERRUPTED if number == signal.SIGINT else TERMINATED


@asynccontextmanager
async def stopping_with(parent: int | None, stopping: Stopping) -> AsyncGenerator[None]:
    """Ask to stop when process `parent` dies, while the context lasts; None: nobody to watch."""

    async def watch() -> None:
        if parent is not None:
            await parent_gone(parent)
            stopping.event.set()

    async with background(watch):
        yield
