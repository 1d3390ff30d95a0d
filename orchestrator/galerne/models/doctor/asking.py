"""What an examination asks: small questions whose answers show a trait, in the back end's dialect.

The words and values on offer are few and short, so that an answer that is held to a form comes to
its end within a few tokens, whatever the model thinks.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from galerne.messages.chat import ChatMessage, ToolCall, ToolChoice, ToolSchema
from galerne.models.dialects import Asked
from galerne.models.doctor.exchange import Ask
from galerne.models.doctor.patient import Patient
from galerne.models.wire import encode, wire_tools

ANSWER = 64
"""Tokens of an answer that may hold a call."""
WORD = 8
"""Tokens of an answer that only has to come."""


def _closed(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


WEATHER = ToolSchema(
    "get_weather", "Tell the weather in a city.", _closed(city={"enum": ["Nantes", "Brest"]})
)
TIDE = ToolSchema(
    "get_tide", "Tell the tide at a port.", _closed(port={"enum": ["Nantes", "Brest"]})
)
COLOUR = _closed(colour={"enum": ["red", "green", "blue"]}, sure={"type": "boolean"})

HELLO = ChatMessage("user", "Say hello in one short sentence.")
WHAT_WEATHER = ChatMessage("user", "What is the weather in Nantes? Use the tool.")
LONG_ID = "call_0123456789abcdef"


def chat(
    patient: Patient,
    messages: Sequence[ChatMessage],
    most: int,
    *,
    tools: Sequence[ToolSchema] = (),
    choice: ToolChoice = "auto",
    more: dict[str, Any] | None = None,
    stream: bool = False,
    usage: bool = False,
) -> Ask:
    """A chat of at most `most` tokens; `more` are fields that the dialect would not send."""
    body = patient.dialect.encode(
        Asked(
            model=patient.endpoint.model,
            messages=messages,
            max_tokens=most,
            temperature=0.0,
            tools=wire_tools(tools),
            tool_choice=choice,
            stream=stream,
            usage=usage,
        )
    )
    if more:
        fields: dict[str, Any] = msgspec.json.decode(body)
        body = encode({**fields, **more})
    return Ask(body)


def called(call_id: str) -> tuple[ChatMessage, ...]:
    """A question, the call that it led to, and its result."""
    call = ToolCall(call_id, WEATHER.name, '{"city": "Nantes"}')
    return (
        WHAT_WEATHER,
        ChatMessage("assistant", tool_calls=(call,)),
        ChatMessage("tool", "Rain, 12 degrees.", tool_call_id=call_id, name=WEATHER.name),
    )
