"""The tools of a run: functions, `@tool` functions, and installed ones by name."""

from collections.abc import Callable, Iterable
from typing import Any, cast

from galerne.errors import InvalidInputError
from galerne.settings import ToolSettings
from galerne.tools import AnyTool, Tool, load_tools, tool

GivenTool = AnyTool | Callable[..., Any] | str


def given_tools(given: Iterable[GivenTool] | None, settings: ToolSettings) -> dict[str, AnyTool]:
    """By name. None: every installed tool that only looks (its effect is `pure`).

    A plain function becomes a tool as `@tool` would make it. Raises InvalidInputError for what
    cannot be one, for a name that is not installed, and for two of one name.
    """
    if given is None:
        found = load_tools(settings)
        return {name: one for name, one in found.items() if one.spec.effect == "pure"}
    _check_list(given)
    tools: dict[str, AnyTool] = {}
    for one in given:
        made = _tool(one, settings)
        if made.spec.name in tools:
            raise InvalidInputError(
                f"two tools are named {made.spec.name!r}; rename one with @tool(name=…)"
            )
        tools[made.spec.name] = made
    return tools


def _check_list(given: object) -> None:
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise InvalidInputError(f"tools is {given!r:.60}: give a list of functions or names")


def _tool(given: object, settings: ToolSettings) -> AnyTool:
    if isinstance(given, Tool):
        return cast("AnyTool", given)
    if isinstance(given, str):
        installed = load_tools(settings)
        if given in installed:
            return installed[given]
        there = ", ".join(installed) or "none"
        raise InvalidInputError(f"no tool {given[:64]!r} is installed; there are: {there}")
    if callable(given):
        return tool(given)
    raise InvalidInputError(
        f"{given!r:.60} is no tool: give a function, a function decorated with @tool, or the name"
        " of an installed one"
    )
