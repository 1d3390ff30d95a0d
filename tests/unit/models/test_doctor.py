"""The doctor's judgements, without a network: probes are fed answers and say what they show."""

import json
from collections.abc import Callable
from datetime import date
from typing import Any, get_args

import pytest

from galerne.models.catalogue import load
from galerne.models.dialects import Spoken, dialect_named
from galerne.models.doctor.context import window
from galerne.models.doctor.exchange import Answer, Ask, Heard, Unheard
from galerne.models.doctor.finding import Finding
from galerne.models.doctor.mending import mend
from galerne.models.doctor.patient import Patient, Subject
from galerne.models.doctor.reading import tokens_of
from galerne.models.doctor.streams import streaming
from galerne.models.doctor.tools import Probe, native, required
from galerne.models.endpoint import Endpoint
from galerne.models.mapping import too_slow
from galerne.settings import RoleSettings

SETTINGS = RoleSettings(endpoint="http://127.0.0.1:9/v1", model="m", api_key="sk-never-shown")
LOADED = load()
Server = Callable[[dict[str, Any]], Answer]


def patient(spoken: Spoken = "vllm", context: int = 4096) -> Patient:
    subject = Subject(
        settings=SETTINGS,
        catalogue=LOADED,
        today=date(2026, 11, 1),
        salt="k7f",
        context=context,
    )
    return Patient(subject=subject, endpoint=Endpoint(SETTINGS), dialect=dialect_named(spoken))


def found(probe: Probe, server: Server) -> dict[str, Finding]:
    """What a probe says in the end of a server that answers as `server` does."""
    try:
        ask: Ask = next(probe)
        while True:
            assert ask.body is not None
            ask = probe.send(server(json.loads(ask.body)))
    except StopIteration as end:
        findings: tuple[Finding, ...] = end.value
        return {finding.probe: finding for finding in findings}


def heard(body: Any, status: int = 200) -> Heard:
    return Heard(status, {}, ((0.1, json.dumps(body).encode()), (0.1, b"")))


def completion(content: str = "", usage: tuple[int, int] | None = (20, 4), **more: Any) -> Heard:
    message = {"role": "assistant", "content": content, **more}
    body: dict[str, Any] = {"choices": [{"message": message, "finish_reason": "stop"}]}
    if usage is not None:
        body["usage"] = {"prompt_tokens": usage[0], "completion_tokens": usage[1]}
    return heard(body)


def call(name: str, arguments: str) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"tool_calls": [{"id": "a1B2c3D4e", "type": "function", "function": function}]}


def lines_in(body: dict[str, Any]) -> int:
    return str(body["messages"][0]["content"]).count("tide at the old pier")


def password_in(body: dict[str, Any]) -> str:
    return str(body["messages"][0]["content"]).split()[3].rstrip(".")


REFUSALS = [
    "This model's maximum context length is 2048 tokens. However, you requested {sent} tokens.",
    "Prompt contains {sent} tokens, too large for model with 2048 maximum context length",
    "request ({sent} tokens) exceeds the available context size (2048 tokens), try increasing it",
]


@pytest.mark.parametrize("words", REFUSALS)
def test_the_limit_that_a_refusal_names_is_tried_next(words: str) -> None:
    asked: list[int] = []

    def server(body: dict[str, Any]) -> Answer:
        sent = 30 + 15 * lines_in(body)
        asked.append(sent)
        if sent > 2048:
            return heard({"error": {"message": words.replace("{sent}", str(sent))}}, 400)
        return completion(password_in(body), (sent, 4))

    finding = found(window(patient()), server)["context"]
    assert finding.level == "warning"
    assert "more than 2,048 is refused" in finding.seen
    assert len(asked) == 4
    assert 1900 < asked[-1] <= 2048


def test_a_refusal_without_a_number_halves_the_prompt_until_it_fits() -> None:
    def server(body: dict[str, Any]) -> Answer:
        sent = 30 + 15 * lines_in(body)
        if sent > 900:
            return heard({"error": {"message": "the prompt is too long"}}, 400)
        return completion(password_in(body), (sent, 4))

    finding = found(window(patient()), server)["context"]
    assert finding.level == "warning"
    assert "more than 1,024 is refused" in finding.seen


def test_without_usage_only_the_password_tells() -> None:
    forgetful = found(window(patient()), lambda _: completion("I do not know.", None))
    assert forgetful["context"].level == "warning"
    assert "was lost" in forgetful["context"].seen
    good = found(window(patient()), lambda body: completion(password_in(body), None))
    assert good["context"].level == "ok"


def test_a_server_that_reads_too_slowly_is_told_how_to_ask_for_less() -> None:
    def server(body: dict[str, Any]) -> Answer:
        if lines_in(body) > 20:
            return Unheard(too_slow(Endpoint(SETTINGS), 120.0, silent=False))
        return completion("x", (30 + 15 * lines_in(body), 1))

    finding = found(window(patient()), server)["context"]
    assert finding.level == "warning"
    assert "--context 1024" in finding.mend


def event(text: str) -> bytes:
    choice = {"index": 0, "delta": {"content": text}}
    return b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"


END = (
    b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\n'
    b'data: {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 21}}\n\n'
    b"data: [DONE]\n\n"
)


def test_a_steady_stream_has_a_pace() -> None:
    arrivals = tuple((0.5 + n / 10, event("word ")) for n in range(21))
    findings = found(streaming(patient()), lambda _: Heard(200, {}, (*arrivals, (2.6, END))))
    assert findings["streaming"].level == "ok"
    assert findings["speed"].seen.startswith("first token after 500 ms, then 10 tokens/s")
    # At that pace 2,048 tokens take longer than the 120 s that the settings give an answer.
    assert findings["speed"].level == "warning"
    assert "2048 would take 205 s of 120 s" in findings["speed"].seen


def test_a_stream_that_comes_all_at_once_after_a_while_was_held_back() -> None:
    body = b"".join(event("word ") for _ in range(21)) + END
    findings = found(streaming(patient()), lambda _: Heard(200, {}, ((3.0, body), (3.0, b""))))
    assert findings["streaming"].level == "warning"
    assert "proxy_buffering off" in findings["streaming"].mend


def test_a_server_that_refuses_stream_options_is_asked_without_them() -> None:
    bodies: list[dict[str, Any]] = []

    def server(body: dict[str, Any]) -> Answer:
        bodies.append(body)
        if "stream_options" in body:
            return heard({"message": "stream_options: Extra inputs are not permitted"}, 422)
        return Heard(200, {}, ((0.1, event("word ") * 9 + END), (0.1, b"")))

    assert found(streaming(patient("openai")), server)["streaming"].level == "ok"
    assert len(bodies) == 2


def test_a_call_that_breaks_its_schema_is_not_well() -> None:
    bad = call("get_weather", '{"city": "Paris"}')
    assert found(native(patient()), lambda _: completion(**bad))["tool calls"].level == "warning"
    finding = found(required(patient()), lambda _: completion(**bad))["required"]
    assert finding.level == "failure"
    assert "0.8.3" in finding.mend


def test_required_is_said_in_the_word_that_the_hosted_api_knows() -> None:
    words: list[Any] = []

    def server(body: dict[str, Any]) -> Answer:
        words.append(body["tool_choice"])
        return completion(**call("get_weather", '{"city": "Brest"}'))

    assert found(required(patient("mistral")), server)["required"].level == "ok"
    assert words == ["any"]


def test_a_key_in_a_refusal_is_not_repeated() -> None:
    refused = heard({"error": {"message": "no such key: sk-never-shown"}}, 403)
    finding = found(native(patient()), lambda _: refused)["tool calls"]
    assert "sk-never-shown" not in finding.seen
    assert "[api_key]" in finding.seen


@pytest.mark.parametrize("spoken", get_args(Spoken))
def test_every_back_end_has_its_own_words_for_what_mends_calls_and_context(spoken: Spoken) -> None:
    for fault in ("tools leaked", "context", "schema", "required"):
        words = mend(fault, spoken, "m", 16_384)
        assert words
        assert "{" not in words


def test_tokens_are_counted_in_plain_answers_and_in_streams() -> None:
    assert tokens_of(completion()) == 24
    assert tokens_of(Heard(200, {}, ((0.1, event("word ") + END), (0.1, b"")))) == 30
    assert tokens_of(heard({"error": "no"}, 500)) == 0
