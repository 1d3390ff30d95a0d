"""One run over every dialect: what each sends, what it takes back, what a refusal means."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from galerne.errors import (
    GalerneError,
    ModelError,
    RateLimitedError,
    TooLongError,
    TransientError,
)
from galerne.messages.chat import (
    ChatMessage,
    ChatReply,
    ChatRequest,
    OneTool,
    ToolCall,
    ToolChoice,
    ToolSchema,
)
from galerne.models.conversation import CALL_ID
from galerne.models.dialects import (
    Dialect,
    Spoken,
    dialect_named,
    told_by_address,
    told_by_owners,
    told_by_server,
)
from galerne.models.endpoint import Endpoint
from galerne.models.names import FUNCTION_NAME
from galerne.models.question import Question
from galerne.models.reply import plain_reply
from galerne.models.stream import ReplyStream
from galerne.models.ways import Ways
from galerne.settings import Backend, RoleSettings

SPOKEN: tuple[Spoken, ...] = get_args(Spoken)
SETTINGS = RoleSettings(endpoint="http://models.test", model="mistral-7b", max_tokens=64)
ENDPOINT = Endpoint(SETTINGS)
RECORDED = Path(__file__).parents[4] / "shared" / "data" / "wire_errors.jsonl"
USER = ChatMessage("user", "Hi")
COUNT = ToolSchema("count", "Counts.", {"type": "object", "properties": {}})
DOTTED = ToolSchema("math.factorial", "n!", {"type": "object", "properties": {}})
ONE = {"type": "function", "function": {"name": "math_factorial"}}
COMMON = {
    "model",
    "messages",
    "max_tokens",
    "temperature",
    "tools",
    "tool_choice",
    "stream",
    "response_format",
}
FIELDS: dict[Spoken, set[str]] = {
    "mistral": COMMON | {"random_seed"},
    "vllm": COMMON | {"seed", "stream_options"},
    "ollama": COMMON - {"tool_choice"} | {"seed", "stream_options"},
    "llamacpp": COMMON | {"seed", "stream_options"},
    "openai": COMMON | {"seed", "stream_options"},
}
"""All that each back end may be sent; for the hosted API, a subset of its published schema."""


@pytest.fixture(params=SPOKEN)
def dialect(request: pytest.FixtureRequest) -> Dialect:
    return dialect_named(request.param)


def sent(
    dialect: Dialect,
    *messages: ChatMessage,
    tools: Sequence[ToolSchema] = (),
    choice: ToolChoice = "auto",
    seed: int | None = None,
    stream: bool = False,
    output: dict[str, Any] | None = None,
) -> dict[str, Any]:
    request = ChatRequest(
        messages or (USER,), tuple(tools), tool_choice=choice, seed=seed, output=output
    )
    question = Question(request, None)
    ways = Ways(usage=dialect.asks_for_usage, output=dialect.output)
    asked = question.asked(SETTINGS, ways, stream=stream)
    body: dict[str, Any] = msgspec.json.decode(dialect.encode(asked))
    return body


def names_in(body: dict[str, Any]) -> list[str]:
    return [tool["function"]["name"] for tool in body.get("tools", [])]


# what is sent


def test_a_dialect_has_the_name_that_settings_give_it(dialect: Dialect) -> None:
    assert dialect_named(dialect.name).__class__ is dialect.__class__
    assert {"auto", *SPOKEN} == set(get_args(Backend))


def test_the_least_request(dialect: Dialect) -> None:
    assert sent(dialect) == {
        "model": "mistral-7b",
        "messages": [{"role": "user", "content": "Hi"}],
        "max_tokens": 64,
        "temperature": 0.0,
    }


@pytest.mark.parametrize("choice", ["auto", "any", "none", OneTool("count")])
def test_only_fields_that_the_back_end_takes(dialect: Dialect, choice: ToolChoice) -> None:
    body = sent(dialect, tools=(COUNT, DOTTED), choice=choice, seed=7, stream=True, output={})
    assert set(body) <= FIELDS[dialect.name]
    assert None not in body.values()
    assert [] not in body.values()


def test_the_seed_has_the_back_ends_name(dialect: Dialect) -> None:
    body = sent(dialect, seed=7)
    field = "random_seed" if dialect.name == "mistral" else "seed"
    assert {name: value for name, value in body.items() if "seed" in name} == {field: 7}


def test_the_usage_of_a_stream_is_asked_for_where_it_must_be(dialect: Dialect) -> None:
    body = sent(dialect, stream=True)
    assert body["stream"] is True
    asks = None if dialect.name == "mistral" else {"include_usage": True}
    assert body.get("stream_options") == asks
    assert "stream_options" not in sent(dialect)


def test_a_schema_of_the_answer_is_enforced_unless_a_tool_may_be_called(dialect: Dialect) -> None:
    schema = {"type": "array"}
    body = sent(dialect, output=schema)
    assert body["response_format"]["type"] == "json_schema"
    assert body["response_format"]["json_schema"]["schema"] == schema
    shown = [turn["content"] for turn in body["messages"] if turn["role"] == "system"]
    assert bool(shown) is (dialect.output == "both")
    calling = sent(dialect, tools=(COUNT,), output=schema)
    assert "response_format" not in calling
    assert '{"type":"array"}' in calling["messages"][0]["content"]
    assert "response_format" in sent(dialect, tools=(COUNT,), choice="none", output=schema)


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ("auto", {}),
        ("any", {"mistral": "any", "vllm": "required", "llamacpp": "required"}),
        ("none", {"mistral": "none", "vllm": "none", "llamacpp": "none"}),
        (OneTool("math.factorial"), {"mistral": ONE, "vllm": ONE, "llamacpp": "required"}),
    ],
)
def test_the_words_for_having_to_call(
    dialect: Dialect, choice: ToolChoice, words: dict[str, Any]
) -> None:
    """The generic dialect says what vLLM's does; Ollama is never sent what it does not read."""
    body = sent(dialect, tools=(COUNT, DOTTED), choice=choice)
    assert body.get("tool_choice") == words.get(
        "vllm" if dialect.name == "openai" else dialect.name
    )


def test_what_tool_choice_cannot_say_the_tools_do(dialect: Dialect) -> None:
    both = ["count", "math_factorial"]
    offered = {
        choice: names_in(sent(dialect, tools=(COUNT, DOTTED), choice=choice))
        for choice in ("auto", "any", "none", OneTool("math.factorial"))
    }
    ollama = dialect.name == "ollama"
    assert offered["auto"] == offered["any"] == both
    assert offered["none"] == ([] if ollama else both)
    one = ollama or dialect.name == "llamacpp"
    assert offered[OneTool("math.factorial")] == (["math_factorial"] if one else both)


@pytest.mark.parametrize("choice", ["auto", "any", "none"])
def test_without_tools_nothing_is_said_of_them(dialect: Dialect, choice: ToolChoice) -> None:
    assert not {"tools", "tool_choice"} & set(sent(dialect, choice=choice))


def test_a_tool_that_must_be_called_must_be_on_offer(dialect: Dialect) -> None:
    with pytest.raises(ModelError, match="'read', which is not on offer"):
        sent(dialect, tools=(COUNT,), choice=OneTool("read"))
    with pytest.raises(ModelError, match="not on offer"):
        sent(dialect, choice=OneTool("read"))


def test_ids_and_names_of_a_turn_with_calls(dialect: Dialect) -> None:
    call = ToolCall("chatcmpl-tool-0123456789", "math.factorial", '{"n": 3}')
    turns = (
        USER,
        ChatMessage("assistant", tool_calls=(call, ToolCall("c0", "count", ""))),
        ChatMessage("tool", "2", tool_call_id="c0"),
        ChatMessage("tool", "6", tool_call_id=call.id),
    )
    body = sent(dialect, *turns, tools=(DOTTED, COUNT))
    _, made, first, second = body["messages"]
    assert made["content"] == ""
    assert [call["function"] for call in made["tool_calls"]] == [
        {"name": "math_factorial", "arguments": '{"n": 3}'},
        {"name": "count", "arguments": "{}"},
    ]
    assert all(CALL_ID.fullmatch(call["id"]) for call in made["tool_calls"])
    assert all(call["type"] == "function" for call in made["tool_calls"])
    assert [first["content"], second["content"]] == ["6", "2"]
    assert [first["tool_call_id"], second["tool_call_id"]] == [c["id"] for c in made["tool_calls"]]
    assert [first["name"], second["name"]] == ["math_factorial", "count"]
    assert body == sent(dialect, *turns, tools=(DOTTED, COUNT))
    assert all(FUNCTION_NAME.fullmatch(name) for name in names_in(body))


# what comes back


def answered(body: dict[str, Any], tools: Sequence[ToolSchema] = (DOTTED,)) -> ChatReply:
    question = Question(ChatRequest((USER,), tuple(tools)), None)
    return question.answered(plain_reply(msgspec.json.encode(body), ENDPOINT))


@pytest.mark.parametrize("content", [None, "", [], [{"type": "text", "text": ""}]])
@pytest.mark.parametrize("arguments", ['{"n": 3}', {"n": 3}])
@pytest.mark.parametrize("finish", ["tool_calls", "stop", None])
def test_a_call_in_every_shape(content: Any, arguments: Any, finish: Any) -> None:
    function = {"name": "math_factorial", "arguments": arguments}
    calls = [{"id": "chatcmpl-tool-1", "index": 0, "function": function}]
    message = {"content": content, "tool_calls": calls}
    reply = answered({"choices": [{"message": message, "finish_reason": finish}]})
    (call,) = reply.message.tool_calls
    assert (call.id, call.name) == ("chatcmpl-tool-1", "math.factorial")
    assert msgspec.json.decode(call.arguments) == {"n": 3}
    assert (reply.message.content, reply.finish) == ("", "tool_calls")


def usage(where: str) -> list[dict[str, Any]]:
    """A stream's chunks with its usage where a back end puts it."""
    counted = {"prompt_tokens": 5, "completion_tokens": 1}
    said = {"choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": None}]}
    last: dict[str, Any] = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    match where:
        case "in the last chunk":
            return [said, last | {"usage": counted}]
        case "alone":
            return [said, last, {"choices": [], "usage": counted}]
        case "alone, without choices":
            return [said, last, {"usage": counted}]
        case _:
            return [said | {"usage": None}, last | {"usage": None}, {"usage": counted}]


@pytest.mark.parametrize(
    "where", ["in the last chunk", "alone", "alone, without choices", "after nulls"]
)
def test_the_usage_of_a_stream_wherever_it_is(where: str) -> None:
    stream = ReplyStream(ENDPOINT)
    for chunk in usage(where):
        stream.feed(b"data: " + msgspec.json.encode(chunk) + b"\n\n")
    stream.feed(b"data: [DONE]\n\n")
    assert stream.reply().usage.prompt_tokens == 5


# what is refused


def refused(dialect: Dialect, status: int, message: str) -> GalerneError:
    body = msgspec.json.encode({"error": {"message": message}})
    return dialect.refusal(ENDPOINT, status, {}, body, 0.0)


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (400, "Conversation roles must alternate", ModelError),
        (401, "Unauthorized", ModelError),
        (404, "model not found", ModelError),
        (422, "Extra inputs are not permitted", ModelError),
        (429, "Requests rate limit exceeded", RateLimitedError),
        (429, "Service tier capacity exceeded for this model.", RateLimitedError),
        (503, "Loading model", TransientError),
        (500, "oops", TransientError),
        (500, "Jinja Exception: Unexpected role 'tool' after role 'user'", ModelError),
    ],
)
def test_what_every_back_end_means(
    dialect: Dialect, status: int, message: str, kind: type[GalerneError]
) -> None:
    error = refused(dialect, status, message)
    assert type(error) is kind
    assert "models.test" in str(error)
    assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("name", "status", "message", "kind", "advice"),
    [
        ("vllm", 400, "requires --enable-auto-tool-choice", ModelError, "tool-call-parser mistral"),
        ("vllm", 400, "maximum context length is 8192", TooLongError, "--max-model-len"),
        ("ollama", 400, "mixtral does not support tools", ModelError, "model with tools"),
        ("ollama", 404, 'model "x" not found, try pulling it first', ModelError, "ollama pull"),
        ("ollama", 500, "model requires more system memory (9 GiB)", ModelError, "smaller model"),
        ("ollama", 503, "server busy, please try again.", RateLimitedError, "slow down"),
        ("llamacpp", 400, "exceeds the available context size", TooLongError, "larger -c"),
        ("llamacpp", 500, "tools param requires --jinja flag", ModelError, "with --jinja"),
        ("mistral", 400, "Invalid model: open-mixtral-8x22b", ModelError, "galerne models"),
        ("openai", 500, "model requires more system memory", TransientError, "try again"),
    ],
)
def test_what_one_back_end_says_in_its_own_words(
    name: Spoken, status: int, message: str, kind: type[GalerneError], advice: str
) -> None:
    error = refused(dialect_named(name), status, message)
    assert type(error) is kind
    assert advice in str(error)


@pytest.mark.skipif(not RECORDED.is_file(), reason="../shared/data is absent: no recorded errors")
def test_recorded_errors_mean_the_same_in_their_own_dialect_and_in_the_generic_one() -> None:
    rows = [msgspec.json.decode(line) for line in RECORDED.read_bytes().splitlines()]
    wrong: list[str] = []
    for row in rows:
        kind = RateLimitedError if row["retryable"] else ModelError
        for name in (row["backend"].replace(".", ""), "openai"):
            body = msgspec.json.encode(row["body"])
            error = dialect_named(name).refusal(ENDPOINT, row["status"], row["headers"], body, 0.0)
            if not isinstance(error, kind):
                wrong.append(f"{name}: {row['meaning']}: {error!r}")
    assert wrong == []
    assert len(rows) == 21
    print(f"{len(rows)} recorded errors mapped, each by two dialects")  # noqa: T201 - a count that is reported


# which one


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("https://api.mistral.ai/v1", "mistral"),
        ("https://API.mistral.ai/v1", "mistral"),
        ("https://api.mistral.ai.example/v1", None),
        ("http://127.0.0.1:11434/v1", "ollama"),
        ("http://[::1]:11434/v1", "ollama"),
        ("https://api.openai.com/v1", "openai"),
        ("http://127.0.0.1:8000/v1", None),
        ("http://models.test/11434/v1", None),
    ],
)
def test_the_address_tells(url: str, told: Spoken | None) -> None:
    assert told_by_address(url) == told


@pytest.mark.parametrize(
    ("owners", "told"),
    [
        (["vllm"], "vllm"),
        (["vllm", "vllm"], "vllm"),
        (["llamacpp"], "llamacpp"),
        (["library", "library"], "ollama"),
        (["mistralai"], "mistral"),
        (["somebody"], None),
        (["vllm", "library"], None),
        ([None], None),
        ([], None),
    ],
)
def test_the_list_of_models_tells(owners: list[str | None], told: Spoken | None) -> None:
    assert told_by_owners(owners) == told


def test_the_head_of_an_answer_tells() -> None:
    assert told_by_server({"Server": "llama.cpp"}) == "llamacpp"
    assert told_by_server({"Server": "uvicorn"}) is None
    assert told_by_server({}) is None
