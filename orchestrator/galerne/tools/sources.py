"""Tools that live elsewhere, behind connections that a tool worker keeps open while it runs.

A package offers such tools by naming a module in the entry-point group `galerne.tool_sources`. The
module holds an async context manager `open_tools(settings, taken, offer)`, which keeps what is
behind the tools alive until it is left. It calls `offer(tools)` before it is entered, and again
with all of them whenever they have become others. `taken` are the names that others have.
"""

from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from importlib.metadata import EntryPoint, entry_points
from typing import cast

import anyio

from galerne.errors import InvalidInputError
from galerne.logs import get_logger
from galerne.settings import ToolSettings
from galerne.tools.contract import AnyTool

log = get_logger("galerne.tools")

_FACTORY = "open_tools"
Offer = Callable[[Iterable[AnyTool]], None]
Opens = Callable[[ToolSettings, Collection[str], Offer], AbstractAsyncContextManager[None]]


class LiveTools:
    """The tools that a worker has now: its own, and what each source offers."""

    def __init__(self, own: Mapping[str, AnyTool]) -> None:
        self._own = dict(own)
        self._offered: dict[str, dict[str, AnyTool]] = {}
        self._news = anyio.Event()

    def now(self) -> dict[str, AnyTool]:
        """By name, sorted by it."""
        tools = dict(self._own)
        for offered in self._offered.values():
            tools |= offered
        return dict(sorted(tools.items()))

    async def changed(self, told: Mapping[str, AnyTool]) -> None:
        """Wait until they are others than those that the caller was told."""
        while self.now() == told:
            await self._news.wait()

    def offer(self, source: str, tools: Iterable[AnyTool]) -> None:
        """All that a source has from now on, but for names that others have."""
        self._offered.pop(source, None)
        others = self.now()
        found: dict[str, AnyTool] = {}
        for tool in tools:
            name = tool.spec.name
            if name in others or name in found:
                log.error("a tool is left out, as its name is taken", tool=name, source=source)
            else:
                found[name] = tool
        self._offered[source] = found
        self._news.set()
        self._news = anyio.Event()


@asynccontextmanager
async def with_sources(
    own: Mapping[str, AnyTool], settings: ToolSettings, group: str = "galerne.tool_sources"
) -> AsyncGenerator[LiveTools]:
    """A worker's own tools and those of every installed source, while it lasts.

    Raises InvalidInputError that names the entry point for a module that is no source, and what a
    source raises that cannot begin.
    """
    live = LiveTools(own)
    async with AsyncExitStack() as stack:
        for point in sorted(entry_points(group=group)):
            await stack.enter_async_context(_opened(point, settings, live))
        yield live


def _opened(
    point: EntryPoint, settings: ToolSettings, live: LiveTools
) -> AbstractAsyncContextManager[None]:
    where = f"the entry point {point.name!r} of {point.group} ({point.value})"
    try:
        module = point.load()
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise InvalidInputError(f"{where} cannot be imported: {reason}") from error
    opens = getattr(module, _FACTORY, None)
    if not callable(opens):
        raise InvalidInputError(f"{where} must name a module with {_FACTORY}()")

    def offer(tools: Iterable[AnyTool]) -> None:
        live.offer(point.name, tools)

    return cast("Opens", opens)(settings, frozenset(live.now()), offer)
