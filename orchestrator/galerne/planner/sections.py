"""The form of a prompt's user message: headings alone on a line, text that cannot forge one."""

import re
from typing import Any, Final, cast

import msgspec

from galerne.messages.chat import ChatMessage

_LINE_STARTS: Final = re.compile(r"(^|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029])#")


def escaped(text: str) -> str:
    """Text of a user or a tool: a backslash before each `#` that begins a line."""
    return _LINE_STARTS.sub(r"\1\\#", text)


def as_text(value: Any) -> str:
    """A task's value for a model: text as it is, anything else as JSON."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def size_text(value: Any) -> str:
    """` (a list of 17)` for a heading: models count badly, and a list is asked for its length."""
    return f" (a list of {len(cast('list[object]', value))})" if isinstance(value, list) else ""


def section(heading: str, body: str) -> str:
    """`# heading` or `## heading` alone on its line, then the escaped body."""
    return f"{heading}\n{escaped(body)}"


def messages(system: str, *sections: str) -> tuple[ChatMessage, ...]:
    """A system message, and a user message of the sections with an empty line between."""
    user = "\n\n".join(one for one in sections if one)
    return (ChatMessage("system", system), ChatMessage("user", user))
