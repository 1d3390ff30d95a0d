"""One model's context: where it is from, what goes out, and what a cut prompt teaches."""

from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from galerne.messages.chat import ChatMessage, ChatReply, ChatRequest, TokenUsage
from galerne.models.dialects import Dialect, dialect_named
from galerne.models.endpoint import Endpoint
from galerne.models.tokens import ESTIMATE, Prompt, Window, window
from galerne.models.wire import encode
from galerne.settings import RoleSettings
from unit.models.tokens.conversations import SYSTEM, TOOL, dialogue, words

pytestmark = pytest.mark.anyio

OLLAMA = dialect_named("ollama")
GENERIC = dialect_named("openai")


def window_of(**settings: Any) -> Window:
    role = RoleSettings(endpoint="http://127.0.0.1:9", **settings)
    return Window(role, Endpoint(role))


def answer(counted: int) -> ChatReply:
    return ChatReply(ChatMessage("assistant", "Done."), "m", usage=TokenUsage(counted, 5))


@pytest.mark.parametrize(
    ("name", "dialect", "context"),
    [
        ("mistral-7b", GENERIC, 32_768),
        ("mixtral-8x22b", GENERIC, 65_536),
        ("mistral:7b-instruct-v0.1", OLLAMA, 8192),
        ("nobody-knows-this", GENERIC, 32_768),
    ],
)
def test_the_context_is_the_catalogues(name: str, dialect: Dialect, context: int) -> None:
    assert window_of(model=name).context(dialect) == context


def test_a_model_that_nobody_knows_is_noted_once_and_quietly() -> None:
    with capture_logs() as logs:
        one = window_of(model="nobody-knows-this")
        assert one.context(GENERIC) == one.context(GENERIC)
    (line,) = logs
    assert line["log_level"] == "debug"
    assert "`context`" in line["event"]


def test_the_setting_wins() -> None:
    assert window_of(model="mistral-7b", context=6000).context(OLLAMA) == 6000


async def test_an_answer_has_its_length_or_half_of_the_context() -> None:
    request = ChatRequest(dialogue(10))
    one = window_of(model="m", context=4096, max_tokens=1000)
    assert (await one.fit(request, encode(request.tools), GENERIC)).max_tokens == 1000
    greedy = msgspec.structs.replace(request, max_tokens=9000)
    assert (await one.fit(greedy, encode(greedy.tools), GENERIC)).max_tokens == 2048


async def test_what_fits_goes_out_as_it_is() -> None:
    request = ChatRequest(dialogue(10, 200), (TOOL,))
    prompt = await window_of(model="mistral-7b").fit(request, encode(request.tools), GENERIC)
    assert prompt.messages is request.messages
    assert prompt.notices == ()


@pytest.mark.parametrize("model", ["mistral-7b", "nobody-knows-this"])
async def test_what_is_cut_is_said(model: str) -> None:
    """Exactly counted or not."""
    one = window_of(model=model, context=4096, max_tokens=1000)
    request = ChatRequest(dialogue(*[400] * 30), (TOOL,))
    prompt = await one.fit(request, encode(request.tools), GENERIC)
    notice = "to fit the context of 4,096 tokens, results were shortened and earlier turns left out"
    assert prompt.notices == (notice,)
    assert one.heard(prompt, answer(2000), GENERIC).notices == (notice,)


async def test_an_exact_count_leaves_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prose has more words a token than the estimate dares to say."""
    request = ChatRequest(dialogue(2300), (TOOL,))
    settings = {"model": "mistral-7b", "context": 4096, "max_tokens": 1000}
    assert ESTIMATE.prompt(request.messages, request.tools) > 3096
    assert (
        await window_of(**settings).fit(request, encode(request.tools), GENERIC)
    ).messages == request.messages
    monkeypatch.setattr(window, "can_count", _no_counter)
    assert (
        await window_of(**settings).fit(request, encode(request.tools), GENERIC)
    ).messages != request.messages


def _no_counter(_: str | None) -> bool:
    return False


def long_prompt(count: int = 20_000) -> Prompt:
    return Prompt((SYSTEM, ChatMessage("user", words(count))), b"", 100)


def test_a_cut_prompt_is_told_each_time_and_logged_once() -> None:
    one = window_of(model="mistral", max_tokens=100)
    with capture_logs() as logs:
        first = one.heard(long_prompt(), answer(4096), OLLAMA)
        second = one.heard(long_prompt(), answer(4096), OLLAMA)
    (notice,) = first.notices
    assert second.notices == (notice,)
    assert "read only 4,096 of at least" in notice
    assert "OLLAMA_CONTEXT_LENGTH" in notice
    (line,) = [line for line in logs if line["log_level"] == "warning"]
    assert "mistral at http://127.0.0.1:9/v1" in line["endpoint"]


def test_other_servers_get_other_advice() -> None:
    for name, words_ in (("llamacpp", "-c 32768"), ("openai", "OLLAMA_CONTEXT_LENGTH, llama.cpp")):
        dialect = dialect_named(name)  # type: ignore[arg-type]
        (notice,) = window_of(model="m").heard(long_prompt(), answer(4096), dialect).notices
        assert words_ in notice


async def test_what_was_cut_once_is_kept_shorter_from_then_on() -> None:
    one = window_of(model="mistral", max_tokens=100)
    one.heard(long_prompt(), answer(3900), OLLAMA)
    assert one.context(OLLAMA) == 4096
    prompt = await one.fit(ChatRequest(dialogue(*[400] * 30)), b"[]", OLLAMA)
    assert ESTIMATE.prompt(prompt.messages) < 2 * 3996
    assert one.heard(prompt, answer(3100), OLLAMA).notices == prompt.notices


def test_a_context_that_is_no_power_of_two_is_found_at_the_second_try() -> None:
    one = window_of(model="mistral")
    one.heard(long_prompt(), answer(5000), OLLAMA)
    assert one.context(OLLAMA) == 8192
    one.heard(long_prompt(8000), answer(4900), OLLAMA)
    assert one.context(OLLAMA) == 5000


def test_nothing_is_learned_from_a_server_that_counts_only_what_is_new() -> None:
    one = window_of(model="mistral")
    one.heard(long_prompt(), answer(4096), OLLAMA)
    short = Prompt((SYSTEM, ChatMessage("user", words(200))), b"", 100)
    assert one.heard(short, answer(3), OLLAMA).notices == ()
    assert one.context(OLLAMA) == 32_768
    assert one.heard(long_prompt(), answer(4096), OLLAMA).notices == ()
