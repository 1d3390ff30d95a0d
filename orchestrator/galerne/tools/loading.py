"""Where tools come from: modules, named by entry points.

A package offers tools by naming a module in the entry-point group `galerne.tools`. The module
holds its tools at its top level, or, where they depend on settings, a function `tools(settings)`
that makes them; so nothing about a tool is global and two workers may differ. The function may
make none: what is dangerous is off until the settings say otherwise.
"""

from collections.abc import Callable, Iterable
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Any, cast

from galerne.errors import InvalidInputError
from galerne.settings import ToolSettings
from galerne.tools.contract import AnyTool, Tool

_FACTORY = "tools"
_Factory = Callable[[ToolSettings], Iterable[Any]]


def find_tools(module: ModuleType) -> list[AnyTool]:
    """The tools at the top level of a module, each once, in the order of their definition."""
    found: dict[AnyTool, None] = {}
    for value in vars(module).values():
        if isinstance(value, Tool):
            found[value] = None
    return list(found)


def load_tools(settings: ToolSettings, group: str = "galerne.tools") -> dict[str, AnyTool]:
    """Every installed tool by its name, sorted by it.

    Raises InvalidInputError that names the entry point for a module that cannot be imported or
    has no usable tools, and for two tools of one name.
    """
    loaded: dict[str, AnyTool] = {}
    origins: dict[str, str] = {}
    for point in sorted(entry_points(group=group)):
        for found in _load(point, settings):
            name = found.spec.name
            if name in loaded:
                raise InvalidInputError(
                    f"two tools are named {name!r}: in {origins[name]} and in {point.value}; "
                    "rename one with @tool(name=…)"
                )
            loaded[name] = found
            origins[name] = point.value
    return dict(sorted(loaded.items()))


def _load(point: EntryPoint, settings: ToolSettings) -> list[AnyTool]:
    where = f"the entry point {point.name!r} of {point.group} ({point.value})"
    try:
        module = point.load()
    except InvalidInputError as error:
        raise InvalidInputError(f"{where} has a bad tool: {error}") from error
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise InvalidInputError(f"{where} cannot be imported: {reason}") from error
    if not isinstance(module, ModuleType):
        raise InvalidInputError(f"{where} must name a module, without a colon")
    return tools_of(module, settings, where)


def tools_of(module: ModuleType, settings: ToolSettings, where: str) -> list[AnyTool]:
    """What a module offers. `where` names it in errors. Raises InvalidInputError."""
    factory = getattr(module, _FACTORY, None)
    if callable(factory) and not isinstance(factory, Tool):
        return _checked(cast("_Factory", factory)(settings), where)
    found = find_tools(module)
    if not found:
        raise InvalidInputError(f"{where} has no tools: decorate a function with @tool")
    return found


def _checked(made: Iterable[Any], where: str) -> list[AnyTool]:
    found = list(made)
    for value in found:
        if not isinstance(value, Tool):
            raise InvalidInputError(f"{where}: its function tools() gave {value!r}, not a tool")
    return found
