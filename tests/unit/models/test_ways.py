"""In which way a server is asked first, and what is left after each refusal."""

import msgspec
import pytest

from galerne.messages.chat import ChatMessage, ChatRequest, ToolSchema
from galerne.models.catalogue import Catalogue, load
from galerne.models.dialects import OutputForm, Spoken, dialect_named
from galerne.models.ways import Ways, first_ways, kept, other_ways
from galerne.settings import RoleSettings, ToolMode

CATALOGUE = load()
TOOL = ToolSchema("count", "Counts.", {"type": "object", "properties": {}})
REQUEST = ChatRequest((ChatMessage("user", "Hi"),), (TOOL,), output={"type": "object"})
AUTO = RoleSettings(model="m")
NO_TOOLS = b'{"error": {"message": "llama3 does not support tools", "type": "api_error"}}'
NO_FORMAT = b'{"detail": [{"loc": ["body", "response_format"], "msg": "Extra inputs"}]}'


@pytest.mark.parametrize(
    ("model", "spoken", "mode", "words"),
    [
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", "vllm", "auto", True),
        ("mistralai/Mistral-7B-Instruct-v0.2", "vllm", "auto", True),
        ("mistralai/Mistral-7B-Instruct-v0.3", "vllm", "auto", False),
        ("mixtral:8x7b", "ollama", "auto", True),
        ("mixtral:8x7b", "ollama", "native", False),
        ("mistral:7b-instruct-v0.2-q4_0", "ollama", "auto", True),
        ("mistral", "ollama", "auto", False),
        ("mistral", "ollama", "prompt", True),
        ("mixtral-8x7b", "openai", "auto", True),
        ("mixtral-8x22b", "openai", "auto", False),
        ("somebodys-own", "llamacpp", "auto", False),
    ],
)
def test_tools_are_offered_as_the_model_was_trained(
    model: str, spoken: Spoken, mode: ToolMode, words: bool
) -> None:
    settings = RoleSettings(model=model, tools=mode)
    assert first_ways(settings, CATALOGUE, dialect_named(spoken)).prompted is words


@pytest.mark.parametrize(
    ("model", "spoken", "form"),
    [
        ("mistral-large-2512", "mistral", "format"),
        ("somebodys-own", "mistral", "format"),
        ("open-mistral-7b", "mistral", "words"),
        ("mistral", "ollama", "both"),
        ("mistral-7b", "vllm", "both"),
    ],
)
def test_a_schema_is_enforced_where_the_back_end_can(
    model: str, spoken: Spoken, form: OutputForm
) -> None:
    ways = first_ways(RoleSettings(model=model), CATALOGUE, dialect_named(spoken))
    assert ways.output == form
    assert ways.usage is (spoken != "mistral")


def test_a_catalogue_of_ones_own_decides() -> None:
    own = msgspec.structs.replace(CATALOGUE["mistral-7b-instruct-v0.3"], tools="prompt")
    settings = RoleSettings(model="mistral")
    assert first_ways(settings, Catalogue([own]), dialect_named("ollama")).prompted


def test_each_refusal_takes_one_way_off_until_none_is_left() -> None:
    ways = Ways()
    without_usage = other_ways(ways, AUTO, REQUEST, 422, b'"stream_options": extra')
    assert without_usage is not None
    assert without_usage == Ways(usage=False)
    in_words = other_ways(without_usage, AUTO, REQUEST, 400, NO_TOOLS)
    assert in_words is not None
    assert in_words == Ways(usage=False, prompted=True)
    all_words = other_ways(in_words, AUTO, REQUEST, 422, NO_FORMAT)
    assert all_words is not None
    assert all_words == Ways(usage=False, prompted=True, output="words")
    for refused in (b"stream_options", NO_TOOLS, NO_FORMAT):
        assert other_ways(all_words, AUTO, REQUEST, 400, refused) is None


def test_only_a_refusal_of_that_kind_and_of_what_was_asked_counts() -> None:
    assert other_ways(Ways(), AUTO, REQUEST, 500, NO_TOOLS) is None
    assert other_ways(Ways(), AUTO, REQUEST, 400, b"no such model") is None
    native = RoleSettings(model="m", tools="native")
    assert other_ways(Ways(), native, REQUEST, 400, NO_TOOLS) is None
    plain = ChatRequest(REQUEST.messages)
    assert other_ways(Ways(), AUTO, plain, 400, NO_TOOLS) is None
    assert other_ways(Ways(), AUTO, plain, 422, NO_FORMAT) is None


def test_only_what_is_the_servers_is_kept() -> None:
    other = Ways(usage=False, prompted=True, output="words")
    assert kept(Ways(), other) == Ways(usage=False, prompted=True)
