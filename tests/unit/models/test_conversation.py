"""Whatever passes through `obey_rules` keeps Mistral's rules, or is refused by the rule's name."""

from collections.abc import Sequence
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galerne.errors import ModelError
from galerne.messages.chat import ChatMessage, ToolCall
from galerne.models.conversation import (
    BEGIN,
    BETWEEN,
    CALL_ID,
    NO_RESULT,
    formed,
    has_form,
    obey_rules,
)
from galerne.models.names import FUNCTION_NAME

SYSTEM = ChatMessage("system", "Be brief.")
USER = ChatMessage("user", "Count the words.")


def calling(*ids: str, name: str = "count", arguments: str = "{}") -> ChatMessage:
    return ChatMessage("assistant", tool_calls=tuple(ToolCall(i, name, arguments) for i in ids))


def result(call_id: str | None, content: str = "3") -> ChatMessage:
    return ChatMessage("tool", content, tool_call_id=call_id)


def assert_rules(turns: Sequence[ChatMessage]) -> None:
    """Mistral's rules, written down a second time and independently of how they are mended."""
    body = turns[1:] if turns[0].role == "system" else turns
    assert body[0].role == "user"
    assert body[-1].role in {"user", "tool"}
    allowed = {
        "user": {"assistant", "calls"},
        "assistant": {"user"},
        "calls": {"tool"},
        "tool": {"tool", "assistant", "calls"},
    }
    kinds = ["calls" if turn.tool_calls else turn.role for turn in body]
    assert all(after in allowed[before] for before, after in pairwise(kinds))
    open_ids: list[str] = []
    every_id: list[str] = []
    for turn in body:
        if turn.role == "assistant":
            assert bool(turn.content) != bool(turn.tool_calls)
            assert not open_ids
            open_ids = [call.id for call in turn.tool_calls]
            every_id += open_ids
        elif turn.role == "tool":
            assert turn.tool_call_id == open_ids.pop(0)
            assert turn.name is not None
            assert FUNCTION_NAME.fullmatch(turn.name)
        for call in turn.tool_calls:
            assert CALL_ID.fullmatch(call.id)
            assert FUNCTION_NAME.fullmatch(call.name)
            assert isinstance(msgspec.json.decode(call.arguments), dict)
    assert not open_ids
    assert len(set(every_id)) == len(every_id)


# what is mended


def test_a_conversation_that_keeps_the_rules_stays_as_it_is() -> None:
    turns = (
        SYSTEM,
        USER,
        calling("abcDEF123"),
        ChatMessage("tool", "3", tool_call_id="abcDEF123", name="count"),
        ChatMessage("assistant", "Three."),
        USER,
    )
    assert obey_rules(turns) == turns


def test_long_ids_are_rewritten_in_the_call_and_its_result() -> None:
    long_id = "chatcmpl-tool-9f149c74c4"
    turns = obey_rules([USER, calling(long_id), result(long_id)])
    assert CALL_ID.fullmatch(turns[1].tool_calls[0].id)
    assert turns[2].tool_call_id == turns[1].tool_calls[0].id
    assert turns == obey_rules([USER, calling(long_id), result(long_id)])


def test_an_id_that_comes_again_is_another_id() -> None:
    turns = obey_rules([USER, calling("c0"), result("c0"), calling("c0"), result("c0")])
    assert_rules(turns)
    same = "abcDEF123"
    assert_rules(obey_rules([USER, calling(same, same), result(same), result(same)]))


def test_results_are_put_in_the_order_of_their_calls() -> None:
    turns = obey_rules([USER, calling("a", "b"), result("b", "of b"), result("a", "of a")])
    assert [turn.content for turn in turns[2:]] == ["of a", "of b"]


def test_neighbours_are_merged() -> None:
    turns = obey_rules(
        [
            SYSTEM,
            ChatMessage("system", "Be kind."),
            USER,
            ChatMessage("user", ""),
            ChatMessage("user", "Now."),
            ChatMessage("assistant", "One."),
            ChatMessage("assistant", "Two."),
            USER,
        ]
    )
    assert [turn.content for turn in turns] == [
        "Be brief.\n\nBe kind.",
        "Count the words.\n\nNow.",
        "One.\n\nTwo.",
        "Count the words.",
    ]


def test_an_empty_assistant_turn_is_dropped() -> None:
    assert obey_rules([USER, ChatMessage("assistant", " \n"), ChatMessage("user", "And?")]) == (
        ChatMessage("user", "Count the words.\n\nAnd?"),
    )


def test_a_user_after_a_tool_gets_an_assistant_between() -> None:
    empty = ChatMessage("assistant", "")
    turns = obey_rules([USER, calling("a"), result("a"), empty, ChatMessage("user", "And?")])
    assert [turn.role for turn in turns] == ["user", "assistant", "tool", "assistant", "user"]
    assert turns[3].content == BETWEEN


def test_content_beside_calls_is_left_out() -> None:
    both = ChatMessage("assistant", "Let me see.", tool_calls=(ToolCall("a", "count", "{}"),))
    assert obey_rules([USER, both, result("a")])[1].content == ""
    said = ChatMessage("assistant", "Let me see.")
    assert obey_rules([USER, said, calling("a"), result("a")])[1].content == ""


@pytest.mark.parametrize(
    ("name", "mended"),
    [
        ("files.read", "files_read"),
        ("", "unnamed"),
        ("n" * 70, "n" * 55 + "_85069ddf"),
        ("\u00e9t\u00e9", "_t_"),
    ],
)
def test_a_name_that_a_model_invented_is_made_sendable(name: str, mended: str) -> None:
    turns = obey_rules([USER, calling("a", name=name), result("a")])
    assert turns[1].tool_calls[0].name == turns[2].name == mended


@pytest.mark.parametrize(
    ("arguments", "mended"),
    [
        ('{"a": [1, 2.50]}', {"a": [1, 2.5]}),
        ("", {}),
        ('{"a": ', {"unreadable": '{"a": '}),
        ("[1]", {"unreadable": "[1]"}),
    ],
)
def test_arguments_are_always_an_object(arguments: str, mended: dict[str, object]) -> None:
    turns = obey_rules([USER, calling("a", arguments=arguments), result("a")])
    assert msgspec.json.decode(turns[1].tool_calls[0].arguments) == mended


def test_a_call_without_a_result_is_told_to_have_none() -> None:
    turns = obey_rules([USER, calling("a", "b"), result("b", "of b")])
    assert [turn.content for turn in turns[2:]] == [NO_RESULT, "of b"]
    assert_rules(turns)
    assert obey_rules([USER, calling("a")])[2].content == NO_RESULT


def test_calls_of_several_turns_are_one_turn() -> None:
    turns = obey_rules([USER, calling("a"), calling("b"), result("b", "of b"), result("a", "of a")])
    assert [turn.role for turn in turns] == ["user", "assistant", "tool", "tool"]
    assert [turn.content for turn in turns[2:]] == ["of a", "of b"]


def test_a_result_that_names_no_call_belongs_to_the_first_without_one() -> None:
    turns = obey_rules([USER, calling("a", "b"), result(None, "of b"), result("a", "of a")])
    assert [turn.content for turn in turns[2:]] == ["of a", "of b"]


def test_a_result_of_no_call_is_the_users_word() -> None:
    stray = ChatMessage("tool", "7", tool_call_id="x", name="count")
    assert obey_rules([USER, stray]) == (
        ChatMessage("user", "Count the words.\n\nResult of count:\n```\n7\n```"),
    )
    turns = obey_rules([USER, calling("a"), result("a"), result("a", "again")])
    assert [turn.content for turn in turns[2:]] == [
        "3",
        BETWEEN,
        "Result of a tool:\n```\nagain\n```",
    ]


def test_system_messages_become_one_in_front() -> None:
    late = ChatMessage("system", "Be kind.")
    blank = ChatMessage("system", " ")
    turns = obey_rules([SYSTEM, USER, blank, ChatMessage("assistant", "Hi."), late, USER])
    assert [turn.role for turn in turns] == ["system", "user", "assistant", "user"]
    assert turns[0].content == "Be brief.\n\nBe kind."
    assert obey_rules([blank, USER]) == (USER,)


def test_a_conversation_that_an_assistant_begins_gets_a_user_before_it() -> None:
    turns = obey_rules([SYSTEM, ChatMessage("assistant", "Hi."), USER])
    assert [turn.content for turn in turns] == ["Be brief.", BEGIN, "Hi.", "Count the words."]
    assert_rules(obey_rules([calling("a"), result("a")]))


# what is refused


@pytest.mark.parametrize(
    ("messages", "rule"),
    [
        ([], "no user message"),
        ([SYSTEM], "no user message"),
        ([SYSTEM, ChatMessage("assistant", " ")], "no user message"),
        ([ChatMessage("assistant", "Hi.")], "ends with an assistant"),
        ([USER, ChatMessage("assistant", "Hi.")], "ends with an assistant"),
        ([USER, ChatMessage("assistant", "Hi."), SYSTEM], "ends with an assistant"),
    ],
)
def test_what_asks_nothing_is_refused(messages: list[ChatMessage], rule: str) -> None:
    with pytest.raises(ModelError, match=rule):
        obey_rules(messages)


# whatever comes

ids = st.sampled_from(["a", "b", "call_0", "abcDEF123", "chatcmpl-tool-0123456789", ""])
names = st.sampled_from(["count", "files.read", "", "n" * 70])
arguments = st.sampled_from(["{}", '{"a": 1}', "", "{", "null"])
calls = st.lists(st.builds(ToolCall, ids, names, arguments), max_size=3).map(tuple)
any_message = st.one_of(
    st.builds(ChatMessage, st.just("system"), st.sampled_from(["", "rules"])),
    st.builds(ChatMessage, st.just("user"), st.sampled_from(["", "ask"])),
    st.builds(ChatMessage, st.just("assistant"), st.sampled_from(["", " ", "say"]), calls),
    st.builds(ChatMessage, st.just("tool"), st.just("found"), tool_call_id=st.none() | ids),
)


@st.composite
def exchanges(draw: st.DrawFn) -> list[ChatMessage]:
    """Turns as a loop of model and tools makes them, with the faults that can be mended."""
    messages = [ChatMessage("system", "rules")] * draw(st.integers(0, 2))
    messages += [USER]
    for _ in range(draw(st.integers(0, 4))):
        made = draw(calls)
        messages.append(ChatMessage("assistant", draw(st.sampled_from(["", "say"])), made))
        answers = [result(call.id, f"{place}") for place, call in enumerate(made)]
        messages += draw(st.permutations(answers)) if answers else [USER]
        messages += [USER] * draw(st.integers(0, 2))
    return messages


@given(exchanges())
def test_every_real_exchange_can_be_mended(messages: list[ChatMessage]) -> None:
    turns = obey_rules(messages)
    assert_rules(turns)
    assert obey_rules(turns) == turns


@given(st.lists(any_message, max_size=7))
def test_anything_is_mended_or_refused(messages: list[ChatMessage]) -> None:
    try:
        turns = obey_rules(messages)
    except ModelError:
        return
    assert_rules(turns)
    assert obey_rules(turns) == turns


@given(exchanges() | st.lists(any_message, max_size=7))
def test_what_has_the_form_is_left_as_it_is(messages: list[ChatMessage]) -> None:
    """The short way past the rewriting gives what the rewriting gives."""
    if has_form(messages):
        assert list(formed(messages)) == messages
    try:
        turns = obey_rules(messages)
    except ModelError:
        return
    assert has_form(turns)


@given(exchanges(), exchanges())
def test_a_longer_conversation_keeps_the_ids_of_the_shorter(
    first: list[ChatMessage], second: list[ChatMessage]
) -> None:
    def made(messages: list[ChatMessage]) -> list[str]:
        return [call.id for turn in obey_rules(messages) for call in turn.tool_calls]

    rest = [message for message in second if message.role != "system"]
    short = made(first)
    assert made(first + rest)[: len(short)] == short
