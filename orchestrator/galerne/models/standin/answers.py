"""What the rules answer: text, or tool calls."""

from typing import Any

import msgspec


class Say(msgspec.Struct, frozen=True, tag="say"):
    text: str


class ToolUse(msgspec.Struct, frozen=True):
    """One call of a tool that the request offers; arguments are a JSON object."""

    tool: str
    arguments: dict[str, Any]


class CallTools(msgspec.Struct, frozen=True, tag="call_tools"):
    uses: tuple[ToolUse, ...]


Answer = Say | CallTools


def first_line(text: str, limit: int = 300) -> str:
    """The first line of a text, cut after `limit` characters."""
    line = text.strip().split("\n", 1)[0].strip()
    return line if len(line) <= limit else f"{line[:limit]}…"
