"""Exchanges recorded from real back ends: asked again by their dialects, and read.

Streamed answers are read alike at every piece size. Each test prints how many it read (`-s`).
"""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from galerne.errors import GalerneError, ModelError, TransientError
from galerne.messages.chat import ChatMessage, ChatReply, ChatRequest, ToolCall, ToolSchema
from galerne.models.dialects import Dialect, Spoken, dialect_named
from galerne.models.endpoint import Endpoint
from galerne.models.question import Question
from galerne.models.reply import plain_reply
from galerne.models.stream import ReplyStream
from galerne.models.ways import Ways
from galerne.settings import RoleSettings

DATA = Path(__file__).parents[4] / "shared" / "data"
FILES = sorted(path for path in DATA.glob("wire_*.jsonl") if path.name != "wire_errors.jsonl")
ENDPOINT = Endpoint(RoleSettings(endpoint="http://models.test", model="mistral-7b"))

pytestmark = pytest.mark.skipif(
    not FILES, reason="../shared/data is absent: no recorded exchanges to read"
)


def report(count: str) -> None:
    print(count)  # noqa: T201 - how much was read is part of what these tests say


def dialect_of(name: str) -> Dialect:
    """Of the back end that a file's exchanges were recorded from; GPUStack serves vLLM."""
    told: Spoken = "ollama" if "ollama" in name else "vllm" if "gpustack" in name else "mistral"
    return dialect_named(told)


def exchanges(kind: str) -> list[tuple[str, int, Any]]:
    """Name, status and body of each recorded chat completion: `json` or `sse`."""
    found: list[tuple[str, int, Any]] = []
    for path in FILES:
        for number, line in enumerate(path.read_bytes().splitlines()):
            row = msgspec.json.decode(line)
            uri = row.get("request", {}).get("uri", "chat/completions")
            answer = row.get("response", row)
            if "chat/completions" in uri and kind in answer:
                name = f"{path.name}:{number + 1}"
                found.append((name, answer.get("status", 200), answer[kind]))
    return found


def requests() -> list[tuple[str, Any]]:
    """Name and body of each recorded request for a chat completion."""
    found: list[tuple[str, Any]] = []
    for path in FILES:
        for number, line in enumerate(path.read_bytes().splitlines()):
            body: Any = msgspec.json.decode(line).get("request", {}).get("body")
            if body and "messages" in body:
                found.append((f"{path.name}:{number + 1}", body))
    return found


def turn(message: Any) -> ChatMessage:
    """A recorded turn as Galerne keeps it; pictures and files in it are left out."""
    calls: list[ToolCall] = []
    for call in message.get("tool_calls") or ():
        arguments: Any = call["function"]["arguments"]
        if not isinstance(arguments, str):
            arguments = msgspec.json.encode(arguments).decode()
        calls.append(ToolCall(call["id"], call["function"]["name"], arguments))
    role: Any = "system" if message["role"] == "developer" else message["role"]
    return ChatMessage(
        role, words(message.get("content")), tuple(calls), message.get("tool_call_id")
    )


def is_completion(body: Any) -> bool:
    return isinstance(body, dict) and "choices" in body


def streamed(data: bytes, size: int) -> ChatReply | str:
    stream = ReplyStream(ENDPOINT)
    texts: list[str] = []
    try:
        texts.extend(stream.feed(data[at : at + size]) for at in range(0, len(data), size))
        texts.append(stream.finish())
        reply = stream.reply()
    except GalerneError as error:
        return f"{type(error).__name__}: {error}"
    assert "".join(texts) == reply.message.content
    return reply


def words(content: Any) -> str:
    """The text of a recorded content field: null, a text or a list of parts."""
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(part["text"] for part in content if part["type"] == "text")


def test_plain_answers() -> None:
    answers = [row for row in exchanges("json") if row[1] == 200 and is_completion(row[2])]
    assert len(answers) == 140
    report(f"{len(answers)} plain answers read")
    for name, _, body in answers:
        reply = plain_reply(msgspec.json.encode(body), ENDPOINT)
        message = body["choices"][0]["message"]
        calls: list[Any] = message.get("tool_calls") or []
        assert reply.message.content == words(message.get("content")), name
        assert [call.name for call in reply.message.tool_calls] == [
            call["function"]["name"] for call in calls
        ], name
        for made, call in zip(reply.message.tool_calls, calls, strict=True):
            arguments: Any = call["function"]["arguments"]
            wanted: Any = (
                msgspec.json.decode(arguments) if isinstance(arguments, str) else arguments
            )
            assert msgspec.json.decode(made.arguments) == wanted, name
        assert reply.usage.prompt_tokens == body["usage"]["prompt_tokens"], name
        assert reply.id == body["id"], name


def test_refused_requests() -> None:
    refused = [row for row in exchanges("json") if row[1] >= 400]
    assert refused
    report(f"{len(refused)} refusals mapped")
    for name, status, body in refused:
        data = msgspec.json.encode(body)
        error = dialect_of(name).refusal(ENDPOINT, status, {}, data, 0.0)
        assert isinstance(error, ModelError), name


def test_streams_are_the_same_at_every_size() -> None:
    streams = exchanges("sse")
    assert len(streams) == 45
    report(f"{len(streams)} streamed answers read, each at four piece sizes")
    failed: list[str] = []
    for name, _, text in streams:
        data = text.encode()
        whole = streamed(data, len(data))
        for size in (1, 7, 64):
            assert streamed(data, size) == whole, f"{name} at {size}"
        if isinstance(whole, str):
            failed.append(whole)
            continue
        assert whole.message.content or whole.message.tool_calls, name
        assert whole.usage.prompt_tokens > 0, name
    # One recorded server failed in the middle of its stream, and said so in its own way.
    assert [reason.split(":")[0] for reason in failed] == [TransientError.__name__]
    assert "failed to decode, try again" in failed[0]


def test_every_recorded_row_is_read() -> None:
    """What is left over of the files is no chat completion, and this says what it is."""
    rows = sum(len(path.read_bytes().splitlines()) for path in FILES)
    plain, streams = exchanges("json"), exchanges("sse")
    left = rows - len(plain) - len(streams)
    assert all(is_completion(body) for _, status, body in plain if status == 200)
    assert left == 8, "5 batch jobs and 3 fetched pages"
    report(f"{rows} rows: {len(plain)} plain, {len(streams)} streamed, {left} of other kinds")


def test_recorded_requests_are_asked_by_their_dialect() -> None:
    """Conversations as other clients sent them go through the rules and out in the dialect."""
    recorded = requests()
    assert len(recorded) > 130
    for name, body in recorded:
        tools = tuple(
            ToolSchema(f["name"], f.get("description") or "", f.get("parameters") or {})
            for f in (tool["function"] for tool in body.get("tools") or ())
        )
        question = Question(ChatRequest(tuple(map(turn, body["messages"])), tools), None)
        dialect = dialect_of(name)
        asked = question.asked(RoleSettings(), Ways(), stream=bool(body.get("stream")))
        sent: Any = msgspec.json.decode(dialect.encode(asked))
        assert [tool["function"]["name"] for tool in sent.get("tools", [])] == [
            tool.name for tool in tools
        ], name
        assert ("stream_options" in sent) == (bool(body.get("stream")) and dialect.asks_for_usage)
        assert sent["messages"][-1]["role"] in {"user", "tool"}, name
    report(f"{len(recorded)} recorded requests asked by their dialects")
