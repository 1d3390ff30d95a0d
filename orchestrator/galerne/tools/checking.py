"""Looks a tool over before any model meets it: what is said of it, and what its examples do.

A finding is one line for the tool's author. What cannot be a tool at all is refused when its
module is imported, and never comes this far.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Literal, cast, get_type_hints

import msgspec

from galerne.core.answers import first_fault
from galerne.errors import InvalidInputError
from galerne.messages.tools import ToolOutcome, ToolRefused, ToolResult
from galerne.tools.by_schema import SchemaParameters
from galerne.tools.contract import AnyTool, is_async
from galerne.tools.schema import Schema, result_schema

LONGEST = 600
"""Characters of a description; a planner's prompt shows its first sentence, and each executor that
may call the tool pays for all of it in every turn."""
LONG_IN_A_THREAD = 60.0
"""Seconds after which a plain function ought to look whether anybody waits."""
_KEY = "check.tool.{}"

Call = Callable[[AnyTool, dict[str, Any], str], Awaitable[ToolOutcome]]
"""Calls a tool with arguments and a key."""


class Finding(msgspec.Struct, frozen=True):
    """What was found about one tool. A `note` is worth a look, a `problem` is to be mended."""

    tool: str
    what: str
    weight: Literal["problem", "note"] = "problem"


def look_over(tools: Iterable[AnyTool]) -> list[Finding]:
    """What is wrong with what tools say of themselves; none of them is called."""
    found: list[Finding] = []
    seen: set[str] = set()
    for tool in tools:
        name = tool.spec.name
        if name in seen:
            found.append(Finding(name, "two tools have this name: rename one with @tool(name=…)"))
        seen.add(name)
        found += [Finding(name, what) for what in _of_words(tool)]
        found += [Finding(name, what) for what in _of_parameters(tool.spec.parameters)]
        found += [Finding(name, what) for what in _of_result(tool)]
        found += [Finding(name, what, "note") for what in _worth_a_look(tool)]
    return found


async def try_out(tools: Iterable[AnyTool], call: Call, *, once: bool = False) -> list[Finding]:
    """What comes of the tools' examples; those of `once` tools are left alone unless `once`.

    An `idempotent` tool is called twice with one key, and has to give the same both times.
    """
    found: list[Finding] = []
    for tool in tools:
        name = tool.spec.name
        if not tool.examples:
            found.append(Finding(name, "has no examples: nothing of it was run", "note"))
        elif tool.spec.effect == "once" and not once:
            found.append(Finding(name, "its effect is once: its examples were not run", "note"))
        else:
            for number, example in enumerate(tool.examples, 1):
                what = await _tried(tool, dict(example), _KEY.format(number), call)
                if what:
                    found.append(Finding(name, f"example {number}: {what}"))
    return found


def _of_words(tool: AnyTool) -> Iterable[str]:
    if "description" not in tool.stated:
        yield "has no description: write a docstring, models choose tools by it"
    if len(tool.spec.description) > LONGEST:
        size = len(tool.spec.description)
        yield f"its description has {size} characters: say it in {LONGEST}, models pay for each"
    if "effect" not in tool.stated:
        yield 'its effect is not stated: write effect="pure", "idempotent" or "once"'


def _of_parameters(parameters: Schema) -> Iterable[str]:
    properties: Mapping[str, Any] = parameters.get("properties") or {}
    for name in parameters.get("required") or ():
        if name not in properties:
            yield f"the parameter {name} is required and not described: add it to the properties"
    for name, schema in properties.items():
        field = cast("Schema", schema) if isinstance(schema, dict) else {}
        if not field.get("description"):
            yield f"the parameter {name} has no description: add it to the docstring's Args"
        if _says_nothing(field):
            yield f"the parameter {name} may be anything: give it a type"
        if "default" in field and (fault := first_fault(field["default"], field)):
            yield f"the default of {name} does not fit its own type: {fault}"


def _says_nothing(field: Schema) -> bool:
    match field.get("type"):
        case None:
            return not field.keys() & {"enum", "const", "anyOf", "oneOf", "allOf"}
        case "object":
            return not field.keys() & {"properties", "additionalProperties", "patternProperties"}
        case "array":
            return not field.keys() & {"items", "prefixItems"}
        case _:
            return False


def _of_result(tool: AnyTool) -> Iterable[str]:
    if isinstance(tool.parameters, SchemaParameters):
        return
    try:
        hints = get_type_hints(tool.function, include_extras=True)
    except (NameError, TypeError) as error:
        yield f"the type of its result cannot be read: {_line(error)}"
        return
    if "return" not in hints:
        yield "what it returns has no type: annotate it, plans refer to its fields"
        return
    try:
        result_schema(hints["return"])
    except InvalidInputError as error:
        yield f"what it returns: {_line(error)}"
    except TypeError:
        kind = hints["return"]
        shown = getattr(kind, "__name__", None) or str(kind)
        yield f"what it returns does not serialise: {shown} has no form in JSON"


def _worth_a_look(tool: AnyTool) -> Iterable[str]:
    if tool.spec.effect == "idempotent" and tool.parameters.context is None:
        yield "it is idempotent and never sees the call's key: is repeating it harmless by itself?"
    if not is_async(tool.function) and tool.spec.timeout > LONG_IN_A_THREAD:
        yield "a thread cannot be stopped: look at context.cancelled() in long work"


async def _tried(tool: AnyTool, arguments: dict[str, Any], key: str, call: Call) -> str:
    """What is wrong; empty where nothing is."""
    first = await call(tool, arguments, key)
    match first:
        case ToolRefused(code=code, message=message):
            return f"it gave an error ({code}): {message}"
        case ToolResult(value=value):
            returns = tool.spec.returns
            if returns and (fault := first_fault(value, returns)):
                return f"its result is not what it says that it returns: {fault}"
    if tool.spec.effect == "idempotent":
        second = await call(tool, arguments, key)
        if second != first:
            return "called twice with one key it gave two results: it is not idempotent"
    return ""


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
