"""Calls in every syntax, tools in words and structured output, through the client over HTTP."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from galerne.errors import ModelError
from galerne.messages.chat import ChatMessage, ChatReply, ChatRequest, ToolCall, ToolSchema
from galerne.models import ModelClient
from galerne.models.prompted import HOW
from galerne.settings import RoleSettings
from integration.replaying import Answer, Body, Replaying, replaying

pytestmark = pytest.mark.anyio

CASES = Path(__file__).parents[3] / "shared" / "data" / "toolcall_text_cases.jsonl"
ANY: dict[str, Any] = {"type": "object"}
USER = ChatMessage("user", "Do it.")
ADD = ToolSchema("add", "Adds.", {"type": "object", "properties": {"a": {}, "b": {}}})
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"n": {"type": "integer"}},
    "required": ["n"],
}
NO_TOOLS = '{"error": {"message": "mixtral does not support tools", "type": "api_error"}}'


def client_of(server: Replaying, model: str = "mistral-7b", **more: Any) -> ModelClient:
    more.setdefault("backend", "openai")
    return ModelClient(RoleSettings(endpoint=server.url, model=model, **more))


def always(answer: Answer) -> Callable[[Body, str], Answer]:
    return lambda _body, _key: answer


def cases() -> list[dict[str, Any]]:
    return [msgspec.json.decode(line) for line in CASES.read_bytes().splitlines()]


def made(reply: ChatReply) -> list[dict[str, Any]]:
    return [
        {"name": call.name, "arguments": msgspec.json.decode(call.arguments)}
        for call in reply.message.tool_calls
    ]


@pytest.mark.skipif(not CASES.exists(), reason="../shared/data is absent: no recorded cases")
@pytest.mark.parametrize("model", ["mistral-7b", "mixtral-8x7b"])
async def test_every_recorded_syntax_is_called_plain_and_streamed_at_any_size(model: str) -> None:
    """`mixtral-8x7b` is asked in words, and what it answers is read the same."""
    texts = cases()
    assert len(texts) == 38
    current = Answer()
    async with (
        replaying(lambda _body, _key: current) as server,
        client_of(server, model) as client,
    ):
        for case in texts:
            current = Answer(text=case["text"])
            wanted = {call["name"] for call in case["calls"]} or {"get_weather", "bash"}
            tools = tuple(ToolSchema(name, "", ANY) for name in sorted(wanted))
            request = ChatRequest((USER,), tools)
            plain = await client.ask(request)
            assert made(plain) == case["calls"], case["id"]
            assert "[TOOL_CALLS]" not in plain.message.content, case["id"]
            if case["calls"] and case["id"] != "v13-truncated-second":
                assert plain.complaint == "", case["id"]
            for size, at_once in ((1, 0), (1, 1), (3, 5), (7, 64), (10_000, 0)):
                server.size, server.bytes_at_once = size, at_once
                shown: list[str] = []
                assert await client.ask(request, on_text=shown.append) == plain, case["id"]
                if "there is no tool" not in plain.complaint:
                    assert "".join(shown) == plain.message.content, case["id"]
                assert "TOOL_CALLS" not in "".join(shown), case["id"]


async def test_a_cut_call_is_told_to_the_model_and_never_made() -> None:
    call = ToolCall("x", "add", '{"a": 1, "b": ')
    for answer in (
        Answer(calls=(call,), finish="length"),
        Answer(calls=(call,), finish="tool_calls"),
        Answer(text='[TOOL_CALLS]add{"a": 1', finish="length"),
    ):
        async with (
            replaying(always(answer)) as server,
            client_of(server) as client,
        ):
            request = ChatRequest((USER,), (ADD,))
            plain = await client.ask(request)
            assert plain.message == ChatMessage("assistant")
            assert plain.complaint.startswith("your call of 'add' was cut before its end")
            assert (await client.ask(request, on_text=print)).complaint == plain.complaint


async def test_own_names_come_back_from_text_and_from_native_calls() -> None:
    dotted = ToolSchema("math.factorial", "n!", {"type": "object", "properties": {"n": {}}})
    for answer in (
        Answer(text="[math_factorial(5)]"),
        Answer(text="[math\\_factorial(n=5)]"),
        Answer(calls=(ToolCall("x", "math\\_factorial", '{"n": 5}'),)),
    ):
        async with (
            replaying(always(answer)) as server,
            client_of(server) as client,
        ):
            reply = await client.ask(ChatRequest((USER,), (dotted,)))
            assert made(reply) == [{"name": "math.factorial", "arguments": {"n": 5}}]


# tools in words


async def test_a_model_without_tools_is_asked_in_words() -> None:
    answer = Answer(text='[{"name": "add", "arguments": {"a": 1, "b": 2}}]')
    async with (
        replaying(always(answer)) as server,
        client_of(server, "mixtral-8x7b") as client,
    ):
        first = await client.ask(ChatRequest((USER,), (ADD,)))
        assert made(first) == [{"name": "add", "arguments": {"a": 1, "b": 2}}]
        assert first.finish == "tool_calls"
        call = first.message.tool_calls[0]
        result = ChatMessage("tool", "3", tool_call_id=call.id, name="add")
        answer.text = "It is 3."
        second = await client.ask(ChatRequest((USER, first.message, result), (ADD,)))
    assert second.message.content == "It is 3."
    body = server.bodies[1]
    assert not {"tools", "tool_choice"} & set(body)
    system, user, asked, told = body["messages"]
    assert HOW in system["content"]
    assert user["content"] == "Do it."
    assert asked == {
        "role": "assistant",
        "content": '[{"name":"add","arguments":{"a":1,"b":2}}]',
    }
    assert told["role"] == "user"
    assert told["content"].startswith("Result of add:\n```\n3\n```\n")


async def test_the_refusal_of_tools_turns_to_words_and_is_remembered() -> None:
    def answers(body: Body, _key: str) -> Answer:
        if "tools" in body:
            return Answer(text=NO_TOOLS, status=400)
        return Answer(text="add(a=1)")

    async with (
        replaying(answers) as server,
        client_of(server, "my-own", backend="ollama") as client,
    ):
        for on_text in (None, print, None):
            reply = await client.ask(ChatRequest((USER,), (ADD,)), on_text=on_text)
            assert made(reply) == [{"name": "add", "arguments": {"a": 1}}]
    assert ["tools" in body for body in server.bodies] == [True, False, False, False]


async def test_native_means_native() -> None:
    async with (
        replaying(always(Answer(text=NO_TOOLS, status=400))) as server,
        client_of(server, "mixtral-8x7b", backend="ollama", tools="native") as client,
    ):
        with pytest.raises(ModelError, match='set `tools` to "prompt"'):
            await client.ask(ChatRequest((USER,), (ADD,)))
    assert len(server.bodies) == 1


# structured output


@pytest.mark.parametrize(
    ("backend", "strict", "in_words"),
    [
        ("mistral", {"strict": True}, False),
        ("vllm", {}, True),
        ("ollama", {}, True),
        ("llamacpp", {}, True),
        ("openai", {}, True),
    ],
)
async def test_a_value_is_enforced_by_the_back_end(
    backend: str, strict: Body, in_words: bool
) -> None:
    async with (
        replaying(always(Answer(text='{"n": 7}'))) as server,
        client_of(server, "my-own", backend=backend) as client,
    ):
        request = ChatRequest((USER,), output=SCHEMA)
        shown: list[str] = []
        plain = await client.ask(request)
        streamed = await client.ask(request, on_text=shown.append)
    assert (plain.value, plain.complaint) == ({"n": 7}, "")
    assert streamed == plain
    assert "".join(shown) == '{"n": 7}'
    body = server.bodies[0]
    assert body["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": SCHEMA, **strict},
    }
    assert [turn["role"] for turn in body["messages"]] == (
        ["system", "user"] if in_words else ["user"]
    )


async def test_a_back_end_without_schemas_is_asked_in_words_each_time() -> None:
    def answers(body: Body, _key: str) -> Answer:
        if "response_format" in body:
            return Answer(text='{"detail": "response_format: Extra inputs"}', status=422)
        return Answer(text='Sure:\n```json\n{"n": 7,}\n```')

    async with replaying(answers) as server, client_of(server) as client:
        for _ in range(2):
            reply = await client.ask(ChatRequest((USER,), output=SCHEMA))
            assert (reply.value, reply.message.content) == ({"n": 7}, '{"n":7}')
    assert ["response_format" in body for body in server.bodies] == [True, False] * 2


async def test_a_value_that_does_not_fit_is_told_to_the_model_exactly() -> None:
    async with (
        replaying(always(Answer(text='{"n": "seven"}'))) as server,
        client_of(server) as client,
    ):
        reply = await client.ask(ChatRequest((USER,), output=SCHEMA))
    assert reply.complaint == (
        'your answer does not fit the schema: $.n: "seven" is not of type "integer"'
    )


async def test_with_tools_on_offer_calls_come_before_the_value() -> None:
    """No grammar may keep the model from calling, so the schema is said in words."""
    answer = Answer(calls=(ToolCall("x", "add", '{"a": 1}'),))
    async with replaying(always(answer)) as server, client_of(server) as client:
        request = ChatRequest((USER,), (ADD,), output=SCHEMA)
        calling = await client.ask(request)
        assert (made(calling), calling.complaint) == ([{"name": "add", "arguments": {"a": 1}}], "")
        answer.calls, answer.text = (), 'It is {"n": 1}.'
        assert (await client.ask(request)).value == {"n": 1}
        closing = ChatRequest((USER,), (ADD,), tool_choice="none", output=SCHEMA)
        assert (await client.ask(closing)).value == {"n": 1}
    assert ["response_format" in body for body in server.bodies] == [False, False, True]
    assert "JSON Schema" in server.bodies[0]["messages"][0]["content"]


async def test_what_is_no_schema_is_refused_before_anything_is_sent() -> None:
    async with replaying(always(Answer())) as server, client_of(server) as client:
        with pytest.raises(ModelError, match="`output` is no JSON Schema"):
            await client.ask(ChatRequest((USER,), output={"type": "number of things"}))
    assert server.bodies == []
