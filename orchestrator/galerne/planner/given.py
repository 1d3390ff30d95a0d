"""What a host service gives to plan for, checked before any model is asked.

A tool is a `ToolSpec`, a `@tool` function, or what OpenAI-style APIs take: a dict with `name`,
`description` and `parameters`, bare or under `{"type": "function", "function": …}`. It keeps its
own name, dots and all; the words that other languages have for the types of JSON are read as what
they mean (`dict` is `object`).
"""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol, cast

import msgspec

from galerne.core.one_line import one_line
from galerne.core.schema_words import in_words_of_json
from galerne.errors import InvalidInputError, ModelError
from galerne.messages.facts import Turn
from galerne.messages.tools import ToolSpec
from galerne.models.names import ToolNames
from galerne.models.toolset import fault_of


class HasSpec(Protocol):
    """A tool object: whatever says what a model is told about it."""

    @property
    def spec(self) -> ToolSpec: ...


AnyTool = ToolSpec | HasSpec | Mapping[str, Any]
"""A tool in any of the forms that are taken."""

_SHOWN = 60  # characters of a wrong value in an error's sentence


def check_goal(goal: object) -> str:
    """Raises InvalidInputError where it is no text, or empty."""
    if not isinstance(goal, str):
        raise InvalidInputError(f"the goal is {shown(goal)}: give a text")
    if not goal.strip():
        raise InvalidInputError("the goal is empty: say what the job is to do")
    return goal


def check_inputs(inputs: object) -> dict[str, Any] | None:
    """Raises InvalidInputError where they are no dict of JSON values."""
    if inputs is None:
        return None
    if not isinstance(inputs, Mapping):
        raise InvalidInputError(f"the inputs are {shown(inputs)}: give a dict or None")
    given = dict(cast("Mapping[str, Any]", inputs))
    try:
        msgspec.json.encode(given)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInputError(f"the inputs are no JSON: {one_line(str(error), 200)}") from error
    return given


def tool_specs(tools: object) -> tuple[ToolSpec, ...]:
    """The tools in our own form, in their order.

    Raises InvalidInputError, one line that names the tool, for what is no tool, has no usable name
    or schema, is there twice, or could not be told apart from another by a model.
    """
    if isinstance(tools, str | bytes) or not isinstance(tools, Iterable):
        raise InvalidInputError(
            f"the tools are {shown(tools)}: give a list of ToolSpec or @tool, or of dicts"
        )
    listed = tuple(cast("Iterable[object]", tools))
    specs = tuple(_spec(tool, place) for place, tool in enumerate(listed, start=1))
    try:
        ToolNames(spec.name for spec in specs)
    except ModelError as error:
        raise InvalidInputError(str(error)) from error
    return specs


def _spec(tool: object, place: int) -> ToolSpec:
    if isinstance(tool, Mapping):
        spec = _of_dict(cast("Mapping[str, Any]", tool), place)
    else:
        found = tool if isinstance(tool, ToolSpec) else getattr(tool, "spec", None)
        if not isinstance(found, ToolSpec):
            raise InvalidInputError(
                f"{shown(tool)} is no tool: give a ToolSpec or a function decorated with @tool, or"
                " a dict with name, description and parameters"
            )
        spec = found
    try:
        fault = fault_of(spec.parameters)
    except (TypeError, ValueError, RecursionError) as error:
        fault = one_line(str(error), 200)
    if fault:
        raise InvalidInputError(
            f"the parameters of the tool {_quoted(spec.name)} are no JSON Schema of draft 7"
            f" ({fault}); correct them"
        )
    return spec


def _of_dict(tool: Mapping[str, Any], place: int) -> ToolSpec:
    """OpenAI's outer form, or the inner one."""
    inner: Any = tool.get("function", tool)
    if not isinstance(inner, Mapping):
        raise InvalidInputError(
            f"tool {place}: its function is {shown(inner)}; give a dict with name and parameters"
        )
    function = cast("Mapping[str, Any]", inner)
    kind = tool.get("type", "function")
    if kind != "function":
        raise InvalidInputError(f"tool {place} is of type {shown(kind)}: only functions are tools")
    name, description = function.get("name"), function.get("description")
    if not isinstance(name, str) or not name.strip():
        raise InvalidInputError(f"tool {place} has no name: give it one, a text")
    if not name.isprintable():
        raise InvalidInputError(f"the name of tool {place} is {shown(name)}: keep it on one line")
    if description is not None and not isinstance(description, str):
        raise InvalidInputError(f"the description of the tool {_quoted(name)} must be a text")
    return ToolSpec(
        name=name,
        description=description or name.replace("_", " "),
        parameters=_parameters(function.get("parameters"), name),
    )


def _parameters(given: object, name: str) -> dict[str, Any]:
    """A schema of type object; none is the schema of no parameter."""
    if given is None:
        given = {}
    if not isinstance(given, Mapping):
        raise InvalidInputError(
            f"the parameters of the tool {_quoted(name)} are {shown(given)}: give a JSON Schema of"
            " type object"
        )
    try:
        schema = in_words_of_json(cast("Mapping[str, Any]", given))
    except RecursionError as error:
        raise InvalidInputError(
            f"the parameters of the tool {_quoted(name)} are nested too deeply"
        ) from error
    kind = schema.setdefault("type", "object")
    if kind != "object":
        raise InvalidInputError(
            f"the parameters of the tool {_quoted(name)} are of type {shown(kind)}: they must be"
            " of type object"
        )
    return schema if "properties" in schema else {**schema, "properties": {}}


def turns(history: object) -> tuple[Turn, ...]:
    """What was said before, oldest first. Raises InvalidInputError where one is no `Turn`."""
    if isinstance(history, str | bytes) or not isinstance(history, Iterable):
        raise InvalidInputError(f"the history is {shown(history)}: give a list of Turn")
    given = tuple(cast("Iterable[object]", history))
    for place, one in enumerate(given, start=1):
        if not isinstance(one, Turn):
            raise InvalidInputError(
                f"turn {place} of the history is {shown(one)}: give a Turn with goal and answer"
            )
    return cast("tuple[Turn, ...]", given)


def shown(value: object) -> str:
    """A wrong value and its type, for an error's sentence."""
    words = one_line(repr(value), _SHOWN)
    return words if value is None else f"{words} ({type(value).__name__})"


def _quoted(name: str) -> str:
    return repr(name[:80])
