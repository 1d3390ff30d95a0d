"""A real model server: what the client sends passes it, and what it says is understood.

The model is small and silly, so no test looks at what it says, only at what the server makes of
it: whole calls where a call is required, valid JSON where a schema is, Mistral's own errors.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Generator
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import anyio
import pytest

from acceptance.llamacpp import CONTEXT, MODEL, RECORDED_TEMPLATE, llama_server, post
from galerne.errors import ModelError
from galerne.messages.chat import ChatMessage, ChatRequest, OneTool, ToolCall, ToolSchema
from galerne.models import ModelClient
from galerne.models.conversation import CALL_ID
from galerne.models.dialects import dialect_named
from galerne.models.endpoint import Endpoint
from galerne.models.standin import StandIn
from galerne.settings import RoleSettings

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(300)]

ECHO = ToolSchema(
    "words.echo",
    "Repeat one word.",
    {
        "type": "object",
        "properties": {"word": {"enum": ["kestrel", "heron"]}},
        "required": ["word"],
        "additionalProperties": False,
    },
)
COUNT = ToolSchema(
    "count",
    "Count to a number.",
    {
        "type": "object",
        "properties": {"to": {"type": "integer"}},
        "required": ["to"],
        "additionalProperties": False,
    },
)
QUESTION = ChatMessage("user", "Count to 3, then repeat the word heron.")
RUN = (sys.executable, "-m", "galerne", "run", "--json")
PLAN = {
    "type": "object",
    "properties": {
        "tasks": {
            "type": "array",
            "minItems": 1,
            "maxItems": 1,
            "items": {
                "type": "object",
                "properties": {
                    "id": {"enum": ["count", "compare"]},
                    "kind": {"const": "tool"},
                    "tool": {"enum": ["text.count_words", "files.read"]},
                    "args": {
                        "type": "object",
                        "properties": {"path": {"enum": ["README.md", "docs/protocol.md"]}},
                        "required": ["path"],
                        "additionalProperties": False,
                    },
                },
                "required": ["id", "kind", "tool", "args"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["tasks"],
    "additionalProperties": False,
}
"""A plan's form, bounded so that even this model comes to its end within 120 tokens."""


@pytest.fixture(scope="session", params=["own", "recorded"])
def strict(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Generator[str]:
    """The address of a server with each of two templates that keep Mistral's rules."""
    if request.param == "own":
        yield request.getfixturevalue("llama")
        return
    if not RECORDED_TEMPLATE.is_file():
        pytest.skip(f"{RECORDED_TEMPLATE.name} is not here")
    with llama_server(tmp_path_factory.mktemp("recorded"), RECORDED_TEMPLATE) as address:
        yield address


def settings_of(address: str, **more: Any) -> RoleSettings:
    return RoleSettings(endpoint=address, model=MODEL, max_tokens=56, timeout=120.0, **more)


def schema_fault(schema: dict[str, Any], text: str) -> str:
    library: Any = import_module("jsonschema_rs")
    validator = library.validator_for(schema)
    return "; ".join(error.message for error in validator.iter_errors(json.loads(text)))


def called(call_id: str) -> list[dict[str, Any]]:
    """A call and its result as a careless client sends them, ids and all."""
    function = {"name": "words_echo", "arguments": '{"word": "heron"}'}
    call = {"id": call_id, "type": "function", "function": function}
    return [
        {"role": "user", "content": QUESTION.content},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call_id, "content": "heron"},
    ]


async def test_a_tool_loop_with_required_calls_whatever_ids_the_server_gives(llama: str) -> None:
    turns = [QUESTION]
    ids: list[str] = []
    async with ModelClient(settings_of(llama)) as client:
        assert client.dialect.name == "llamacpp"
        for _ in range(2):
            reply = await client.ask(ChatRequest(tuple(turns), (ECHO,), "any"))
            (call,) = reply.message.tool_calls
            assert call.name == "words.echo"
            assert not schema_fault(ECHO.parameters, call.arguments)
            ids.append(call.id)
            word = json.loads(call.arguments)["word"]
            result = ChatMessage("tool", word, tool_call_id=call.id, name=call.name)
            turns += [reply.message, result]
        closing = await client.ask(ChatRequest(tuple(turns), (ECHO,), "none", max_tokens=8))
    assert not closing.message.tool_calls
    assert closing.usage.completion_tokens > 0

    # The second id may be a copy of the first one as it was sent: this model repeats what it reads.
    assert not CALL_ID.fullmatch(ids[0])
    status, refused = await post(llama, {"messages": called(ids[0]), "max_tokens": 4})
    assert status in {400, 500}
    assert "length 9" in refused["error"]["message"]


async def test_ids_that_are_not_nine_letters_or_digits_fail_unless_the_client_sends_them(
    strict: str,
) -> None:
    foreign = "call_0123456789abcdef"
    status, refused = await post(strict, {"messages": called(foreign), "max_tokens": 4})
    assert status in {400, 500}
    assert "length 9" in refused["error"]["message"]
    status, _ = await post(strict, {"messages": called("a1B2c3D4e"), "max_tokens": 4})
    assert status == 200

    call = ToolCall(foreign, ECHO.name, '{"word": "heron"}')
    turns = (
        QUESTION,
        ChatMessage("assistant", tool_calls=(call,)),
        ChatMessage("tool", "heron", tool_call_id=foreign, name=ECHO.name),
    )
    async with ModelClient(settings_of(strict)) as client:
        answer = await client.ask(ChatRequest(turns, (ECHO,), max_tokens=4))
    assert answer.usage.prompt_tokens > 0


async def test_a_certain_tool_is_called_although_this_server_cannot_be_told_which(
    llama: str,
) -> None:
    async with ModelClient(settings_of(llama)) as client:
        request = ChatRequest((QUESTION,), (COUNT, ECHO), OneTool("words.echo"))
        (call,) = (await client.ask(request)).message.tool_calls
    assert call.name == "words.echo"
    assert not schema_fault(ECHO.parameters, call.arguments)


async def test_a_stream_says_the_same_as_a_plain_answer_and_what_it_cost(llama: str) -> None:
    pieces: list[str] = []
    request = ChatRequest((ChatMessage("user", "Hello"),), max_tokens=24, seed=7)
    async with ModelClient(settings_of(llama)) as client:
        streamed = await client.ask(request, on_text=pieces.append)
        plain = await client.ask(request)  # this server closes what has carried a stream
    assert len(pieces) > 1
    assert "".join(pieces) == streamed.message.content == plain.message.content
    assert streamed.usage.completion_tokens == plain.usage.completion_tokens > 0


async def test_a_streamed_call_is_put_together(llama: str) -> None:
    async with ModelClient(settings_of(llama)) as client:
        request = ChatRequest((QUESTION,), (ECHO,), "any")
        reply = await client.ask(request, on_text=lambda _: None)
    (call,) = reply.message.tool_calls
    assert call.name == "words.echo"
    assert not schema_fault(ECHO.parameters, call.arguments)


BREACHES = [
    pytest.param([("user", "Add."), ("user", "Now.")], "alternate", id="two users"),
    pytest.param([("assistant", "Yes?"), ("user", "Add.")], "alternate", id="assistant first"),
    pytest.param(
        [("user", "Add."), ("assistant", "What?"), ("system", "Be brief."), ("user", "2 and 3.")],
        "roles",
        id="system later",
    ),
]


@pytest.mark.parametrize(("turns", "words"), BREACHES)
async def test_a_breach_of_the_roles_is_a_lasting_error_and_the_client_commits_none(
    strict: str, turns: list[tuple[Any, str]], words: str
) -> None:
    raw = [{"role": role, "content": content} for role, content in turns]
    status, said = await post(strict, {"messages": raw, "max_tokens": 4})
    assert status in {400, 500}
    assert re.search(words, said["error"]["message"])
    settings = settings_of(strict)
    error = dialect_named("llamacpp").refusal(
        Endpoint(settings), status, {}, json.dumps(said).encode(), 0.0
    )
    assert isinstance(error, ModelError)

    async with ModelClient(settings) as client:
        messages = tuple(ChatMessage(role, content) for role, content in turns)
        reply = await client.ask(ChatRequest(messages, max_tokens=4))
    assert reply.usage.completion_tokens > 0


async def test_a_prompt_over_the_context_is_a_lasting_error_that_names_the_flag(
    llama: str,
) -> None:
    request = ChatRequest((ChatMessage("user", "word " * CONTEXT * 2),))
    async with ModelClient(settings_of(llama)) as client:
        with pytest.raises(ModelError, match="-c"):
            await client.ask(request)


async def test_a_plan_under_a_schema_is_valid_whatever_the_model_thinks(llama: str) -> None:
    status, answer = await post(
        llama,
        {
            "messages": [{"role": "user", "content": "Plan: count the words in README.md."}],
            "max_tokens": 120,
            "temperature": 0,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "plan", "strict": True, "schema": PLAN},
            },
        },
    )
    assert status == 200
    (choice,) = answer["choices"]
    assert choice["finish_reason"] == "stop"
    assert not schema_fault(PLAN, choice["message"]["content"])


async def test_a_whole_job_with_a_real_executor_ends_and_is_accounted(
    llama: str, tmp_path: Path
) -> None:
    (tmp_path / "one.txt").write_text("alpha beta gamma\n")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GALERNE_")}
    async with StandIn() as planner:
        flags = ("--planner-endpoint", planner.url, "--executor-endpoint", llama)
        done = await anyio.to_thread.run_sync(
            partial(
                subprocess.run,
                [*RUN, *flags, "--executor-model", MODEL, "Count the words in one.txt"],
                cwd=tmp_path,
                env={**kept, "GALERNE_EXECUTOR_MAX_TOKENS": "24"},
                capture_output=True,
                text=True,
                timeout=200,
                check=False,
            )
        )
    job = json.loads(done.stdout)
    # What this model says is nonsense: it may pass or be refused, but never be lost.
    assert job["status"] in {"succeeded", "failed"}, done.stderr
    used = job["usage"]["models"][MODEL]
    assert used["calls"] >= 1
    assert used["prompt_tokens"] > 100
    assert used["completion_tokens"] > 0
