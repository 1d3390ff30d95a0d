"""From a back end's answer to one that an agent acts on: calls, content, complaint."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galerne.errors import BadAnswerError
from galerne.messages.chat import ChatMessage, ChatReply, OneTool, ToolCall, ToolChoice, ToolSchema
from galerne.models.mending import Hearing, Offered, mended

NUMBERS = {"type": "object", "properties": {"a": {"type": "number"}, "b": {"type": "number"}}}
TOOLS = (ToolSchema("add", "Adds.", NUMBERS), ToolSchema("math.mul", "Multiplies.", NUMBERS))
OFFERED = Offered.of(TOOLS, "auto")


def reply(content: str = "", *calls: ToolCall, finish: str = "stop", **more: Any) -> ChatReply:
    return ChatReply(ChatMessage("assistant", content, calls), "m", finish, id="r1", **more)


def native(name: str, arguments: str) -> ChatReply:
    return reply("", ToolCall("x", name, arguments), finish="tool_calls")


def made(answer: ChatReply) -> list[tuple[str, Any]]:
    calls = answer.message.tool_calls
    return [(call.name, msgspec.json.decode(call.arguments)) for call in calls]


# native calls


@pytest.mark.parametrize(
    ("name", "arguments", "call"),
    [
        ("add", '{"a": 1}', ("add", {"a": 1})),
        ("math\\_mul", '{"a": 1}', ("math_mul", {"a": 1})),
        ("math.mul", '{"a": 1}', ("math_mul", {"a": 1})),
        ("functions.add", '{"a": 1}', ("add", {"a": 1})),
        ("[TOOL_CALLS]add", '{"a": 1}', ("add", {"a": 1})),
        ("[TOOL_CALLS] add", '{"a": 1}', ("add", {"a": 1})),
        ("add[ARGS]", '{"a": 1}', ("add", {"a": 1})),
        ('add{"a": 1}', "{}", ("add", {"a": 1})),
        ('add[ARGS]{"a": 1}', "{}", ("add", {"a": 1})),
        ("add(a=1)", "{}", ("add", {"a": 1})),
        ("add", "{'a': 1, 'b': None}", ("add", {"a": 1, "b": None})),
        ("add", '{"a": 1,}', ("add", {"a": 1})),
        ("add", '{"a": 1}}', ("add", {"a": 1})),
        ("add", '{"a": 1}</s>', ("add", {"a": 1})),
        ("add", '"{\\"a\\": 1}"', ("add", {"a": 1})),
        ("add", '```json\n{"a": 1}\n```', ("add", {"a": 1})),
        ("fly", '{"a": 1}', ("fly", {"a": 1})),
    ],
)
def test_a_native_call_is_what_was_meant(name: str, arguments: str, call: tuple[str, Any]) -> None:
    answer = mended(native(name, arguments), OFFERED)
    assert made(answer) == [call]
    assert (answer.message.tool_calls[0].id, answer.complaint) == ("x", "")


def test_a_call_that_needs_nothing_keeps_its_letters() -> None:
    call = ToolCall("x", "add", '{ "b":1.50,"a" : 1e3 }')
    assert mended(reply("", call), OFFERED).message.tool_calls == (call,)


@pytest.mark.parametrize("number", ["1e999", "9" * 5000])
def test_a_number_that_nobody_can_hold_beside_a_call_in_words(number: str) -> None:
    first = ToolCall("x", "add", f'{{"a": {number}}}')
    answer = mended(reply('[TOOL_CALLS][{"name": "add", "arguments": {"a": 1}}]', first), OFFERED)
    assert [call.arguments for call in answer.message.tool_calls] == [first.arguments, '{"a":1}']


@pytest.mark.parametrize(
    ("name", "arguments", "complaint"),
    [
        ("add", '{"a": 1', "your call of 'add' was cut before its end"),
        ("add", '{"a": "x', "your call of 'add' was cut before its end"),
        ("add", "not json", "your call of 'add' has arguments that are not one JSON object"),
        ("add", "[1]", "your call of 'add' has arguments that are not one JSON object"),
        ("add", '"half', "your call of 'add' has arguments that are not one JSON object"),
        ("add", '{"a": NaN}', "your call of 'add' has a value that is neither text, number, list"),
        ("add(a=1", "{}", "your call of 'add' was cut before its end"),
        ("fly{}", "{}", "there is no tool 'fly'; there are: add, math_mul"),
        ("<|", "{}", "your call of '<|' has arguments that are not one JSON object"),
    ],
)
def test_what_cannot_be_used_is_complained_of(name: str, arguments: str, complaint: str) -> None:
    answer = mended(native(name, arguments), OFFERED)
    assert made(answer) == []
    assert answer.complaint.startswith(complaint)


def test_one_broken_call_does_not_spoil_its_neighbours() -> None:
    calls = (ToolCall("x", "add", '{"a": 1}'), ToolCall("y", "add", '{"a": '))
    answer = mended(reply("", *calls), OFFERED)
    assert answer.message.tool_calls == calls[:1]
    assert answer.complaint == "your call of 'add' was cut before its end"


# calls as text


def test_calls_in_text_have_ids_of_their_own_and_the_finish_says_so() -> None:
    text = '[TOOL_CALLS][{"name": "add", "arguments": {"a": 1}}, {"name": "add", "arguments": {}}]'
    answer = mended(reply(text), OFFERED)
    assert made(answer) == [("add", {"a": 1}), ("add", {})]
    one, two = (call.id for call in answer.message.tool_calls)
    assert one != two
    assert (answer.message.content, answer.finish, answer.complaint) == ("", "tool_calls", "")
    assert mended(reply(text), OFFERED) == answer


def test_what_a_server_parsed_and_left_in_the_text_is_called_once() -> None:
    text = 'So. [TOOL_CALLS]add{"b": 2, "a": 1}'
    answer = mended(reply(text, ToolCall("x", "add", '{"a":1,"b":2}')), OFFERED)
    assert made(answer) == [("add", {"a": 1, "b": 2})]
    assert answer.message.content == "So."
    more = mended(reply(text, ToolCall("x", "add", '{"a":1}')), OFFERED)
    assert made(more) == [("add", {"a": 1}), ("add", {"a": 1, "b": 2})]


def test_a_fence_beside_native_calls_is_an_explanation() -> None:
    text = "I call it:\n```python\nadd(a=1)\n```"
    assert made(mended(reply(text), OFFERED)) == [("add", {"a": 1})]
    answer = mended(reply(text, ToolCall("x", "add", '{"b": 2}')), OFFERED)
    assert made(answer) == [("add", {"b": 2})]


def test_an_unknown_tool_in_text_is_refused_and_nothing_of_it_shows() -> None:
    answer = mended(reply('Wait. [TOOL_CALLS]fly{"to": "Rome"}'), OFFERED)
    assert (made(answer), answer.message.content) == ([], "")
    assert answer.complaint == "there is no tool 'fly'; there are: add, math_mul"


@pytest.mark.parametrize("choice", ["any", OneTool("add")])
def test_where_a_call_was_due_and_none_came_the_model_is_told(choice: ToolChoice) -> None:
    offered = Offered.of(TOOLS, choice)
    assert mended(reply("No."), offered).complaint == (
        "you must call a tool; there are: add, math_mul"
    )
    assert mended(reply("add(a=1)"), offered).complaint == ""
    assert "cut" in mended(reply("add(a=1"), offered).complaint


def test_without_tools_no_bare_text_is_a_call_but_markup_goes() -> None:
    for offered in (Offered(), Offered.of(TOOLS, "none")):
        assert mended(reply("add(a=1)"), offered) == reply("add(a=1)")
        leaked = mended(reply("Well. [TOOL_CALLS]add{}"), offered)
        assert (made(leaked), leaked.message.content) == ([], "")
        assert leaked.complaint == "there is no tool 'add'; there are: none"


def test_an_earlier_complaint_stays() -> None:
    answer = mended(reply("add(a=1", complaint="it was cut"), OFFERED)
    assert answer.complaint == "it was cut; your call of 'add' was cut before its end"


WORDS = st.lists(
    st.sampled_from(
        ["[TOOL_CALLS]", "add", "fly", '{"a": 1}', '{"a": ', "[", "]", "(", ")", "a=1", "```", "\n",
         "Hello", " ", "[ARGS]", '{"name": "add", "arguments": {}}', "\\_", "'", '"', ","]
    ),
    max_size=8,
).map("".join)  # fmt: skip


@given(WORDS, st.lists(st.builds(ToolCall, st.just("x"), WORDS, WORDS), max_size=2))
def test_every_call_that_comes_out_is_an_object_and_no_marker_stays(
    text: str, calls: Sequence[ToolCall]
) -> None:
    answer = mended(reply(text, *calls), OFFERED)
    for call in answer.message.tool_calls:
        assert isinstance(msgspec.json.decode(call.arguments), dict)
        assert "[TOOL_CALLS]" not in call.name


# what is shown


@given(WORDS, st.integers(1, 9))
def test_a_watcher_sees_the_content_however_it_is_cut(text: str, size: int) -> None:
    shown: list[str] = []
    hearing = Hearing(OFFERED, shown.append)
    for at in range(0, len(text), size):
        hearing.hear(text[at : at + size])
    answer = mended(reply(text), OFFERED)
    hearing.end(answer.message.content)
    assert "[TOOL_CALLS]" not in "".join(shown)
    assert all(shown)
    if "there is no tool" not in answer.complaint:
        assert "".join(shown) == answer.message.content


def test_the_value_of_an_answer_without_one_is_a_bad_answer() -> None:
    assert reply('{"a": 1}').value == {"a": 1}
    with pytest.raises(BadAnswerError, match="is no JSON"):
        _ = reply("words").value
    with pytest.raises(BadAnswerError, match="your answer was cut"):
        _ = reply('{"a": ', complaint="your answer was cut").value
