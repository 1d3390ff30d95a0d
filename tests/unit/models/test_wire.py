"""What is sent has exactly the fields that were asked for; what is received may lack any."""

from typing import Any

import msgspec
import pytest

from galerne.messages.chat import ChatMessage, ChatRequest, ToolCall, ToolSchema
from galerne.models.dialects import Asked, dialect_named
from galerne.models.question import Question
from galerne.models.ways import Ways
from galerne.models.wire import decode_completion, wire_tools
from galerne.settings import RoleSettings

USER = ChatMessage("user", "Hi")
TOOL = ToolSchema("count", "Counts.", {"type": "object", "properties": {}})


def sent(request: ChatRequest, **options: Any) -> dict[str, Any]:
    asked = Asked(
        model="m",
        messages=request.messages,
        max_tokens=100,
        temperature=0.0,
        tools=wire_tools(request.tools),
        tool_choice=request.tool_choice,
        **options,
    )
    body: dict[str, Any] = msgspec.json.decode(dialect_named("openai").encode(asked))
    return body


def test_the_least_request() -> None:
    assert sent(ChatRequest((USER,))) == {
        "model": "m",
        "messages": [{"role": "user", "content": "Hi"}],
        "max_tokens": 100,
        "temperature": 0.0,
    }


def test_the_requests_own_limits_win() -> None:
    settings = RoleSettings(max_tokens=100, temperature=0.0)
    question = Question(ChatRequest((USER,), max_tokens=5, temperature=0.7, seed=3), None)
    asked = question.asked(settings, Ways(usage=False), stream=False)
    assert (asked.max_tokens, asked.temperature, asked.seed) == (5, 0.7, 3)
    plain = Question(ChatRequest((USER,)), None).asked(settings, Ways(), stream=True)
    assert (plain.max_tokens, plain.temperature, plain.seed) == (100, 0.0, None)


def test_a_stream_asks_for_its_usage() -> None:
    body = sent(ChatRequest((USER,)), stream=True, usage=True)
    assert body["stream"] is True
    assert body["stream_options"] == {"include_usage": True}
    assert "stream_options" not in sent(ChatRequest((USER,)), stream=True)


@pytest.mark.parametrize(
    ("choice", "word"), [("auto", None), ("any", "required"), ("none", "none")]
)
def test_tools_and_the_word_for_must(choice: Any, word: str | None) -> None:
    body = sent(ChatRequest((USER,), tools=(TOOL,), tool_choice=choice))
    assert body["tools"] == [
        {
            "type": "function",
            "function": {
                "name": "count",
                "description": "Counts.",
                "parameters": {"type": "object", "properties": {}},
            },
        }
    ]
    assert body.get("tool_choice") == word
    without = sent(ChatRequest((USER,), tool_choice=choice))
    assert not {"tools", "tool_choice"} & set(without)


def test_turns_with_calls_and_results() -> None:
    call = ToolCall("abcdefghi", "count", '{"a": 1}')
    turns = (
        USER,
        ChatMessage("assistant", tool_calls=(call,)),
        ChatMessage("tool", "3", tool_call_id="abcdefghi", name="count"),
    )
    assert sent(ChatRequest(turns))["messages"][1:] == [
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [
                {
                    "id": "abcdefghi",
                    "type": "function",
                    "function": {"name": "count", "arguments": '{"a": 1}'},
                }
            ],
        },
        {"role": "tool", "content": "3", "tool_call_id": "abcdefghi", "name": "count"},
    ]


def test_what_is_unknown_or_null_is_passed_over() -> None:
    answer = decode_completion(
        b'{"id": null, "new": {"deep": [1]}, "usage": null, "choices": [{"index": null, '
        b'"message": {"content": null, "tool_calls": null, "reasoning": "hm"}, "logprobs": 1}]}'
    )
    assert answer.choices is not None
    message = answer.choices[0].message
    assert message is not None
    assert (message.content, message.tool_calls, answer.usage) == (None, None, None)
    assert decode_completion(b"{}").choices is None
