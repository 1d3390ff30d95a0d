"""The tools of a request, looked at once: the same ones come with every question of a task.

What is worked out of them is kept for as many sets of tools as one process has on offer, and found
again by the very tuple that a request holds, which costs next to nothing; a tuple with equal tools
costs their encoding.
"""

from collections.abc import Sequence
from functools import lru_cache
from importlib import import_module
from typing import Any

import msgspec

from galerne.errors import ModelError
from galerne.messages.chat import ToolSchema
from galerne.models.mending import Offered
from galerne.models.names import ToolNames
from galerne.models.wire import WireTool, encode, wire_tools

_DRAFT_7 = "http://json-schema.org/draft-07/schema#"
_SETS = 256  # as many sets of tools as one process has on offer
_SCHEMAS = 1024  # as many tools as one process meets
_decode_tools = msgspec.json.Decoder(tuple[ToolSchema, ...]).decode


class Toolset(msgspec.Struct, frozen=True):
    """Tools that can be sent."""

    names: ToolNames
    offered: Offered
    """Under the choice `auto`."""
    wire: tuple[WireTool, ...]
    encoded: bytes
    """Their JSON."""


def toolset(tools: tuple[ToolSchema, ...]) -> Toolset:
    """What `tools` come to. Raises ModelError where a name or a schema cannot be sent."""
    met = _met.get(id(tools))
    if met is not None and met[0] is tools:
        return met[1]
    found = _toolset(encode(tools))
    if len(_met) >= _SETS:
        _met.clear()
    _met[id(tools)] = tools, found
    return found


_met: dict[int, tuple[tuple[ToolSchema, ...], Toolset]] = {}
"""By the tuple's identity, which is its own for as long as it is held here."""


def fault_of(schema: dict[str, Any]) -> str:
    """What is wrong with a JSON Schema, read by draft 7 whatever it names; empty: nothing is."""
    return _fault_of(encode(schema))


@lru_cache(maxsize=_SETS)
def _toolset(encoded: bytes) -> Toolset:
    tools = _decode_tools(encoded)
    names = ToolNames(tool.name for tool in tools)
    _check_parameters(tools)
    return Toolset(names, Offered.of(tools, "auto"), wire_tools(tools), encoded)


def _check_parameters(tools: Sequence[ToolSchema]) -> None:
    """Raise ModelError where a tool's parameters are no schema: the hosted API refuses them all."""
    for tool in tools:
        fault = fault_of(tool.parameters)
        if fault:
            raise ModelError(
                f"the parameters of the tool {tool.name[:80]!r} are no JSON Schema of draft 7 "
                f"({fault}); correct them"
            )


@lru_cache(maxsize=_SCHEMAS)
def _fault_of(parameters: bytes) -> str:
    # Late: half of what `galerne --help` may take.
    library: Any = import_module("jsonschema_rs")
    schema: dict[str, Any] = msgspec.json.decode(parameters)
    try:
        library.meta.validate({**schema, "$schema": _DRAFT_7})
    except library.ValidationError as error:
        return " ".join(str(error.message).split())[:200]
    return ""
