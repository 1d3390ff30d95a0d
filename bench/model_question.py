"""The question that every client is asked: an executor's second step, with five tools."""

from typing import Any

import msgspec

from galerne.messages.chat import ChatMessage, ChatRequest, ToolCall, ToolSchema

MODEL = "ministral-8b-2512"
MAX_TOKENS = 2048


def body_of(request: ChatRequest) -> dict[str, Any]:
    """The question as its users keep it for the OpenAI form: plain dicts and lists."""
    return {
        "model": MODEL,
        "messages": [_turn(message) for message in request.messages],
        "max_tokens": MAX_TOKENS,
        "temperature": 0.0,
        "tools": [
            {"type": "function", "function": msgspec.to_builtins(tool)} for tool in request.tools
        ],
    }


def _turn(message: ChatMessage) -> dict[str, Any]:
    turn: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        turn["tool_calls"] = [
            {"id": c.id, "type": "function", "function": {"name": c.name, "arguments": c.arguments}}
            for c in message.tool_calls
        ]
    if message.tool_call_id:
        turn |= {"tool_call_id": message.tool_call_id, "name": message.name}
    return turn


def _tool(name: str, description: str, **parameters: Any) -> ToolSchema:
    schema: dict[str, Any] = {
        "type": "object",
        "properties": parameters,
        "required": list(parameters)[:1],
        "additionalProperties": False,
    }
    return ToolSchema(name, description, schema)


_PATH = {"type": "string", "description": "path of a file under the root"}
TOOLS = (
    _tool("list_files", "List the files of a folder.", folder=_PATH, pattern={"type": "string"}),
    _tool(
        "read_text",
        "Read a text file, or some of its lines.",
        path=_PATH,
        first={"type": "integer", "minimum": 1, "default": 1},
        last={"type": ["integer", "null"], "default": None},
    ),
    _tool(
        "search_text",
        "Find a pattern in a text file; gives the lines with their numbers.",
        path=_PATH,
        pattern={"type": "string", "minLength": 1},
        most={"type": "integer", "minimum": 1, "maximum": 1000, "default": 100},
    ),
    _tool(
        "text_statistics",
        "Count the lines, words and characters of a text file.",
        path=_PATH,
        unit={"type": "string", "enum": ["lines", "words", "characters"]},
    ),
    _tool("calculate", "Work out an arithmetic expression exactly.", expression={"type": "string"}),
)

_SYSTEM = (
    "You carry out one task of a larger job. Use the tools for everything that they can find out; "
    "never guess what a file holds. Paths are relative to the root. When a call fails, read its "
    "error and correct the call. Answer with the result alone, in one sentence, and say so when "
    "the task cannot be carried out."
)
_RESULT = msgspec.json.encode(
    [{"path": f"reports/2026-10/station-{n:02}.txt", "bytes": 8_000 + 37 * n} for n in range(30)]
).decode()


def question() -> ChatRequest:
    """What an executor asks at its second step: system, user, call, result; five tools."""
    call = ToolCall("Kd93hQz0b", "list_files", '{"folder": "reports/2026-10"}')
    return ChatRequest(
        (
            ChatMessage("system", _SYSTEM),
            ChatMessage("user", "Count the words of the largest report and of “wind” in it."),
            ChatMessage("assistant", tool_calls=(call,)),
            ChatMessage("tool", _RESULT, tool_call_id=call.id, name=call.name),
        ),
        TOOLS,
    )
