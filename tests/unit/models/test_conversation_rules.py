"""mistral-common's own validators take whatever `obey_rules` gives out, whatever the history."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mistral_common.exceptions import MistralCommonException
from mistral_common.protocol.instruct import validator as validators
from mistral_common.protocol.instruct.messages import (
    AssistantMessage,
    SystemMessage,
    ToolMessage,
    UserMessage,
)
from mistral_common.protocol.instruct.request import ChatCompletionRequest
from mistral_common.protocol.instruct.tool_calls import Function, FunctionCall, Tool
from mistral_common.protocol.instruct.tool_calls import ToolCall as TheirCall
from mistral_common.tokens.tokenizers.base import TokenizerVersion

from galerne.errors import ModelError
from galerne.messages.chat import ChatMessage, ChatRequest, ToolCall, ToolSchema
from galerne.models.conversation import obey_rules
from galerne.models.names import sendable
from galerne.models.question import Question
from galerne.models.ways import Ways
from galerne.settings import RoleSettings

oracle: Any = validators  # its generics are not all given
VALIDATORS: dict[TokenizerVersion, Any] = {
    version: oracle.get_validator(version, oracle.ValidationMode.serving)
    for version in TokenizerVersion
}
"""One of each tokenizer version: v1 to v3 of SentencePiece, v3 and later of tekken."""

# Ids and names of every length and kind, and often the same ones.
ids = st.sampled_from(["", "a", "null", "abcDEF123", "call_0123456789"]) | st.text(max_size=12)
names = st.sampled_from(["count", "math.factorial", ""]) | st.text(max_size=70)
contents = st.sampled_from(["", " ", "text"]) | st.text(max_size=5)
arguments = st.sampled_from(["{}", '{"a": 1}', "", "{", "null", "[1]"]) | st.text(max_size=4)
calls = st.lists(st.builds(ToolCall, ids, names, arguments), max_size=3).map(tuple)
messages = st.one_of(
    st.builds(ChatMessage, st.just("system"), contents),
    st.builds(ChatMessage, st.just("user"), contents),
    st.builds(ChatMessage, st.just("assistant"), contents, calls),
    st.builds(
        ChatMessage,
        st.just("tool"),
        contents,
        tool_call_id=st.none() | ids,
        name=st.none() | names,
    ),
)
histories = st.lists(messages, max_size=10)


def theirs(turn: ChatMessage) -> Any:
    """A turn as mistral-common has it."""
    match turn.role:
        case "system":
            return SystemMessage(content=turn.content)
        case "user":
            return UserMessage(content=turn.content)
        case "tool":
            return ToolMessage(content=turn.content, tool_call_id=turn.tool_call_id, name=turn.name)
        case "assistant":
            made = [
                TheirCall(
                    id=call.id, function=FunctionCall(name=call.name, arguments=call.arguments)
                )
                for call in turn.tool_calls
            ]
            return AssistantMessage(content=turn.content or None, tool_calls=made or None)


def validated(turns: Sequence[ChatMessage], tools: Sequence[ToolSchema] = ()) -> None:
    """Raises MistralCommonException where a tokenizer version's rules are broken."""
    for validator in VALIDATORS.values():
        offered = [
            Tool(function=Function(name=sendable(tool.name), parameters=tool.parameters))
            for tool in tools
        ]
        request: Any = ChatCompletionRequest(
            model="m", messages=[theirs(turn) for turn in turns], tools=offered or None
        )
        validator.validate_request(request)


def last_word(history: Sequence[ChatMessage]) -> ChatMessage | None:
    """The last turn that counts: no system's, and no assistant's without a word."""
    said = [
        turn
        for turn in history
        if turn.role in {"user", "tool"}
        or (turn.role == "assistant" and (turn.tool_calls or turn.content.strip()))
    ]
    return said[-1] if said else None


def asks_nothing(history: Sequence[ChatMessage]) -> bool:
    last = last_word(history)
    return last is None or (last.role == "assistant" and not last.tool_calls)


def test_every_version_has_its_validator() -> None:
    versions = {str(version.value) for version in VALIDATORS}
    assert {"v1", "v2", "v3", "v7", "v11", "v13"} <= versions


def test_the_oracle_refuses_what_breaks_a_rule() -> None:
    """Else the tests below would prove nothing."""
    user = ChatMessage("user", "Count.")
    call = ChatMessage("assistant", tool_calls=(ToolCall("call_0123", "count", "{}"),))
    result = ChatMessage("tool", "3", tool_call_id="call_0123", name="count")
    broken = [
        [user, ChatMessage("assistant", "Hi.")],
        [user, ChatMessage("assistant", "Hi."), ChatMessage("system", "x"), user],
        [user, call],
        [user, call, result],
        [user, ChatMessage("assistant", ""), user],
    ]
    for history in broken:
        with pytest.raises(MistralCommonException):
            validated(history)


@given(histories)
@settings(max_examples=300, deadline=None)
@example([ChatMessage("user"), ChatMessage("tool", "x", tool_call_id="a")])
@example([ChatMessage("tool", "x"), ChatMessage("system", "a"), ChatMessage("system", "b")])
@example([ChatMessage("assistant", tool_calls=(ToolCall("null", "a b", "{"),) * 2)])
def test_any_history_is_valid_for_every_tokenizer(history: list[ChatMessage]) -> None:
    """Or asks nothing, and only then is it refused."""
    if asks_nothing(history):
        with pytest.raises(ModelError):
            obey_rules(history)
        return
    turns = obey_rules(history)
    validated(turns)
    assert obey_rules(turns) == turns
    assert obey_rules(history) == turns


@given(histories)
@settings(max_examples=200, deadline=None)
def test_nothing_that_was_said_is_lost(history: list[ChatMessage]) -> None:
    """Only an assistant's words beside calls are: through v3 the models take no such turn."""
    if asks_nothing(history):
        return
    turns = obey_rules(history)
    system = "".join(turn.content for turn in turns if turn.role == "system")
    rest = "".join(turn.content for turn in turns if turn.role in {"user", "tool"})
    for turn in history:
        if turn.content.strip() and turn.role != "assistant":
            assert turn.content in (system if turn.role == "system" else rest)
    made = sum(len(turn.tool_calls) for turn in turns)
    assert made == sum(len(t.tool_calls) for t in history if t.role == "assistant")
    assert made == sum(turn.role == "tool" for turn in turns)


@given(histories)
@settings(max_examples=200, deadline=None)
def test_the_roles_alternate_as_strict_templates_want_it(history: list[ChatMessage]) -> None:
    """vLLM's and llama.cpp's templates are stricter than the validators."""
    if asks_nothing(history):
        return
    roles = [turn.role for turn in obey_rules(history) if turn.role != "system"]
    assert roles[0] == "user"
    for before, after in pairwise(roles):
        assert after != before or before == "tool"
        assert (before, after) not in {("tool", "user"), ("user", "tool")}


@given(st.lists(names.filter(str.strip), max_size=4), histories)
@settings(max_examples=100, deadline=None)
def test_a_question_with_tools_is_valid_or_refused_for_its_names(
    offered: list[str], history: list[ChatMessage]
) -> None:
    tools = tuple(ToolSchema(name, "", {"type": "object"}) for name in offered)
    try:
        question = Question(ChatRequest(tuple(history), tools=tools), None)
    except ModelError:
        alike = len({sendable(name) for name in offered}) < len(offered)
        assert alike or asks_nothing(history)
        return
    asked = question.asked(RoleSettings(), Ways(usage=False), stream=False)
    validated(asked.messages, [tool.function for tool in asked.tools])


@pytest.mark.parametrize(
    "parameters", [{"type": "strin"}, {"properties": []}, {"required": "path"}, {"minimum": "1"}]
)
def test_parameters_that_are_no_schema_are_refused(parameters: dict[str, Any]) -> None:
    tool = ToolSchema("count", "Counts.", parameters)
    with pytest.raises(MistralCommonException):
        validated([ChatMessage("user", "Hi")], [tool])
    request = ChatRequest((ChatMessage("user", "Hi"),), tools=(tool,))
    with pytest.raises(ModelError, match=r"'count'.*JSON Schema"):
        Question(request, None)
