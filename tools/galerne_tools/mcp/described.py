"""What an MCP server's tool is on the bus: its name, effect and description; pure."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from galerne.errors import InvalidInputError
from galerne.messages.tools import Effect
from galerne.settings import McpSettings
from galerne.tools import AnyTool, schema_tool
from galerne.tools.by_schema import OfArguments

if TYPE_CHECKING:
    from mcp_types import Tool, ToolAnnotations

MOST_DESCRIPTION = 4_000
"""Characters of a description: models pay for each, in every conversation."""
_LONGEST = 64
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,39}")


class Names:
    """The names on the bus, each for one tool of one server as long as the worker lives.

    A name that is taken gets the server's in front; what is free stays as the server has it.
    """

    def __init__(self, taken: Collection[str]) -> None:
        self._owners: dict[str, tuple[str, str] | None] = dict.fromkeys(taken)

    def claim(self, server: str, tool: str) -> str | None:
        """The name of a server's tool; None where it cannot have one."""
        plain = re.sub(r"[^A-Za-z0-9_-]+", "_", tool).strip("_")
        for name in (plain, f"{server}_{plain}"):
            fits = bool(plain) and len(name) <= _LONGEST
            if fits and self._owners.setdefault(name, (server, tool)) == (server, tool):
                return name
        return None


def effect_of(annotations: "ToolAnnotations | None") -> Effect:
    """What the server's hints come to; `once`, the worst, of what it does not speak of."""
    if annotations is None:
        return "once"
    if annotations.read_only_hint:
        return "pure"
    return "idempotent" if annotations.idempotent_hint else "once"


def is_among(tool: str, patterns: Iterable[str]) -> bool:
    """Whether a name, or a pattern with `*`, fits the tool's own name."""
    return any(fnmatchcase(tool, pattern) for pattern in patterns)


def described_effect(tool: "Tool", effects: Mapping[str, Effect]) -> Effect:
    """The effect that the settings say, else the server."""
    for pattern, effect in effects.items():
        if is_among(tool.name, (pattern,)):
            return effect
    return effect_of(tool.annotations)


def described_tool(
    tool: "Tool", name: str, version: str, settings: McpSettings, call: OfArguments
) -> AnyTool:
    """The tool as it is served. Raises InvalidInputError for a schema that is none."""
    title = tool.title or (tool.annotations.title if tool.annotations else None)
    text = (tool.description or title or "")[:MOST_DESCRIPTION]
    return schema_tool(
        name,
        text.encode("utf-8", "replace").decode(),
        tool.input_schema,
        call,
        effect=described_effect(tool, settings.effects),
        timeout=settings.timeout,
        version=version if _VERSION.fullmatch(version) else "1",
        approve=is_among(tool.name, settings.approve),
    )


def described_tools(
    server: str,
    listed: Iterable["Tool"],
    version: str,
    settings: McpSettings,
    names: Names,
    call_of: Callable[["Tool", Effect], OfArguments],
) -> tuple[list[AnyTool], list[str]]:
    """The tools of a server that can be served, and a line on each that cannot."""
    found: dict[str, AnyTool] = {}
    faults: list[str] = []
    for tool in listed:
        if not is_among(tool.name, settings.tools):
            continue
        if tool.execution is not None and tool.execution.task_support == "required":
            faults.append(f"{tool.name[:80]!r}: it wants to be called as a task of MCP")
            continue
        name = names.claim(server, tool.name)
        if name is None or name in found:
            faults.append(f"{tool.name[:80]!r}: its name is taken, or cannot be one on the bus")
            continue
        effect = described_effect(tool, settings.effects)
        try:
            found[name] = described_tool(tool, name, version, settings, call_of(tool, effect))
        except (InvalidInputError, RecursionError) as error:
            faults.append(f"{tool.name[:80]!r}: {error}")
    return list(found.values()), faults
