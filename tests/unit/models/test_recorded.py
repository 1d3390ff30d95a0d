"""Exchanges recorded from real back ends are read, streamed ones alike at every piece size."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from galerne.errors import GalerneError, ModelError, TransientError
from galerne.messages.chat import ChatReply
from galerne.models.endpoint import Endpoint
from galerne.models.mapping import refusal
from galerne.models.reply import plain_reply
from galerne.models.stream import ReplyStream
from galerne.settings import RoleSettings

DATA = Path(__file__).parents[4] / "shared" / "data"
FILES = sorted(path for path in DATA.glob("wire_*.jsonl") if path.name != "wire_errors.jsonl")
ENDPOINT = Endpoint(RoleSettings(endpoint="http://models.test", model="mistral-7b"))

pytestmark = pytest.mark.skipif(
    not FILES, reason="../shared/data is absent: no recorded exchanges to read"
)


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
    assert len(answers) > 100
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
    for name, status, body in refused:
        error = refusal(ENDPOINT, status, {}, msgspec.json.encode(body), 0.0)
        assert isinstance(error, ModelError), name


def test_streams_are_the_same_at_every_size() -> None:
    streams = exchanges("sse")
    assert len(streams) > 30
    failed: list[str] = []
    for name, _, text in streams:
        data = text.encode()
        whole = streamed(data, len(data))
        assert streamed(data, 1) == whole, name
        assert streamed(data, 7) == whole, name
        if isinstance(whole, str):
            failed.append(whole)
            continue
        assert whole.message.content or whole.message.tool_calls, name
        assert whole.usage.prompt_tokens > 0, name
    # One recorded server failed in the middle of its stream, and said so in its own way.
    assert [reason.split(":")[0] for reason in failed] == [TransientError.__name__]
    assert "failed to decode, try again" in failed[0]
