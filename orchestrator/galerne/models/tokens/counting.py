"""The size of a conversation in tokens, from the size of its texts.

Mistral's templates write each turn by itself: markers around a text, calls and results as JSON,
the tools once as a JSON list. So a conversation's size is the sum of its turns', and a turn that
is looked at again costs what it cost before. Each sum here is no less than what the template makes
of it, as far as the size of a text is none; the tests hold it against mistral-common.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

from galerne.messages.chat import ChatMessage, ToolCall, ToolSchema
from galerne.models.names import sendable
from galerne.models.tokens.estimate import at_least, at_most
from galerne.models.wire import encode

TURN = 8
"""Tokens around a turn, at most: its markers, a blank, an end of sentence."""
TOOL = 128
"""Bytes around a tool on offer, and those that its name may have more when it is sent."""
START = 8
"""Tokens around the list of tools, and the begin of sentence."""


class Counter:
    """Sizes of turns by a size of texts."""

    __slots__ = ("text",)

    def __init__(self, text: Callable[[str], int]) -> None:
        """`text` gives the tokens of a text, no fewer than it has."""
        self.text = text

    def message(self, message: ChatMessage) -> int:
        """Tokens of one turn as a template writes it."""
        match message.role:
            case "tool":
                return TURN + self.text(_result(message))
            case "assistant" if message.tool_calls:
                return TURN + self.text(_calls(message.tool_calls))
            case _:
                return TURN + self.text(message.content)

    def tools(self, tools: Sequence[ToolSchema]) -> int:
        """Tokens of the tools on offer, and of what stands once in each prompt."""
        return START + (self.text(_written([_offer(tool) for tool in tools])) if tools else 0)

    def prompt(self, messages: Sequence[ChatMessage], tools: Sequence[ToolSchema] = ()) -> int:
        """Tokens of the whole prompt. `messages` have passed `conversation.obey_rules`."""
        return self.tools(tools) + sum(self.message(message) for message in messages)

    def least(self, messages: Sequence[ChatMessage], tools: Sequence[ToolSchema] = ()) -> int:
        """Tokens that the whole prompt has at the least."""
        offered = at_least(_written([_offer(tool) for tool in tools])) if tools else 0
        return offered + sum(at_least(message.content) for message in messages)


ESTIMATE = Counter(at_most)
"""Needs no tokenizer."""


def bytes_of(messages: Sequence[ChatMessage], tools: bytes, offered: int) -> int:
    """A size that needs no look at the texts: no token is shorter than a byte.

    The journal's JSON has all that the templates write, but for the blanks after commas and colons
    (every second byte at the most) and the words around each tool. `tools` is that of the tools,
    of which `offered` are on offer.
    """
    written = len(encode(messages)) + len(tools)
    return START + written + written // 2 + 2 * TURN * len(messages) + TOOL * offered


def _result(message: ChatMessage) -> str:
    return _written({"content": message.content, "call_id": message.tool_call_id})


def _calls(calls: Sequence[ToolCall]) -> str:
    """The calls' JSON. Their arguments are it already, and templates may space them out."""
    return "".join(
        f', {{"name": "{call.name}", "arguments": {_spaced(call.arguments)}, "id": "{call.id}"}}'
        for call in calls
    )


def _spaced(arguments: str) -> str:
    return arguments.replace(",", ", ").replace(":", ": ")


def _offer(tool: ToolSchema) -> dict[str, Any]:
    function = {
        "name": sendable(tool.name),
        "description": tool.description,
        "parameters": tool.parameters,
    }
    return {"type": "function", "function": function}


def _written(value: Any) -> str:
    """JSON as the templates write it, with a blank after each comma and colon."""
    return json.dumps(value, ensure_ascii=False)
