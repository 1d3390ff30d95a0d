"""Tools that live elsewhere, behind connections that a tool worker keeps open while it runs.

A package offers such tools by naming a module in the entry-point group `galerne.tool_sources`. The
module holds an async context manager `open_tools(settings, taken)`, which gives the tools and
keeps what is behind them alive until it is left. `taken` are the names that others have.
"""

from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from importlib.metadata import EntryPoint, entry_points
from typing import cast

from galerne.errors import InvalidInputError
from galerne.settings import ToolSettings
from galerne.tools.contract import AnyTool

_FACTORY = "open_tools"
Opens = Callable[[ToolSettings, Collection[str]], AbstractAsyncContextManager[Iterable[AnyTool]]]


@asynccontextmanager
async def with_sources(
    own: Mapping[str, AnyTool], settings: ToolSettings, group: str = "galerne.tool_sources"
) -> AsyncGenerator[dict[str, AnyTool]]:
    """A worker's own tools and those of every installed source, by name, sorted by it.

    Raises InvalidInputError that names the entry point for a module that is no source, and what a
    source raises that cannot begin.
    """
    tools = dict(own)
    async with AsyncExitStack() as stack:
        for point in sorted(entry_points(group=group)):
            opened = _source(point)(settings, frozenset(tools))
            for tool in await stack.enter_async_context(opened):
                name = tool.spec.name
                if name in tools:
                    raise InvalidInputError(f"{_where(point)} gives {name!r}, which is taken")
                tools[name] = tool
        yield dict(sorted(tools.items()))


def _source(point: EntryPoint) -> Opens:
    try:
        module = point.load()
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise InvalidInputError(f"{_where(point)} cannot be imported: {reason}") from error
    opens = getattr(module, _FACTORY, None)
    if not callable(opens):
        raise InvalidInputError(f"{_where(point)} must name a module with {_FACTORY}()")
    return cast("Opens", opens)


def _where(point: EntryPoint) -> str:
    return f"the entry point {point.name!r} of {point.group} ({point.value})"
