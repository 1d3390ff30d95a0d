"""Mistral's rules for a conversation, as the stand-in enforces them."""

from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galerne.models.standin.asked import CONTEXT_TOKENS, RefusedError, read_asked

SYSTEM = {"role": "system", "content": "s"}
USER = {"role": "user", "content": "u"}
SAYS = {"role": "assistant", "content": "a"}


def calls(*ids: str, name: str = "f", **more: Any) -> dict[str, Any]:
    functions = [{"id": one, "function": {"name": name, "arguments": "{}"}} for one in ids]
    return {"role": "assistant", "tool_calls": functions, **more}


def result(call_id: str | None) -> dict[str, Any]:
    return {"role": "tool", "content": "r", "tool_call_id": call_id}


A, B = "aaaaaaaa1", "bbbbbbbb2"


def body(*messages: dict[str, Any], **more: Any) -> bytes:
    return msgspec.json.encode({"model": "m", "messages": messages, **more})


@pytest.mark.parametrize(
    "messages",
    [
        [USER],
        [SYSTEM, USER],
        [SYSTEM, USER, SAYS, USER],
        [USER, calls(A), result(A)],
        [USER, calls(A, B), result(B), result(A)],
        [USER, calls(A, content=""), result(A), SAYS, USER],
        [USER, calls(A), result(A), calls(A), result(A)],
        [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
    ],
)
def test_good_conversations_pass(messages: list[dict[str, Any]]) -> None:
    assert len(read_asked(body(*messages)).request.messages) == len(messages)


@pytest.mark.parametrize(
    ("messages", "message", "code"),
    [
        ([], "at least one message", "3230"),
        ([SAYS, USER], "Unexpected role 'assistant' as the first", "3230"),
        ([USER, SYSTEM], "Unexpected role 'system' after role 'user'", "3230"),
        ([USER, SAYS, SYSTEM], "Unexpected role 'system' after role 'assistant'", "3230"),
        ([USER, calls(A), result(A), USER], "Unexpected role 'user' after role 'tool'", "3230"),
        ([USER, result(A)], "Unexpected role 'tool' after role 'user'", "3230"),
        ([USER, calls(A), USER], "Not the same number", "3230"),
        ([USER, calls(A, B), result(A)], "Not the same number", "3230"),
        ([USER, calls(A), result(A), result(A)], "Not the same number", "3230"),
        ([USER, calls(A), result(B)], "Not the same number", "3230"),
        ([USER, SAYS, result(A)], "Not the same number", "3230"),
        ([USER, SAYS], "Expected last role User or Tool", "3230"),
        ([USER, calls(A)], "Not the same number", "3230"),
        ([USER, calls(A, content="x"), result(A)], "but not both", "3230"),
        ([USER, {"role": "assistant"}, USER], "but not both", "3230"),
        ([USER, calls("call_1"), result("call_1")], "with a length of 9", "3280"),
        ([USER, calls(A, name="f.g"), result(A)], "Function name was f.g", "3280"),
    ],
)
def test_bad_conversations_are_refused(
    messages: list[dict[str, Any]], message: str, code: str
) -> None:
    with pytest.raises(RefusedError, match=message) as caught:
        read_asked(body(*messages))
    assert (caught.value.status, caught.value.code) == (400, code)


def tool(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}


@pytest.mark.parametrize(
    "more",
    [
        {"tools": [tool("f g")]},
        {"tools": [tool("x" * 65)]},
        {"tools": [tool("f")], "tool_choice": {"type": "function", "function": {"name": "g"}}},
        {"tool_choice": "please"},
        {"max_tokens": 0},
        {"model": ""},
        {"model": None},
        {"messages": "hello"},
    ],
)
def test_bad_fields_are_refused(more: dict[str, Any]) -> None:
    with pytest.raises(RefusedError):
        read_asked(msgspec.json.encode({"model": "m", "messages": [USER], **more}))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b'{"model": "m", "messages": [{"role": "user", "content": "\xff"}]}',
        b'{"model": "m", "messages": [{"role": "user", "content": "\\ud800"}]}',
        b'{"model": "m", "messages": [{"role": "user", "content": "x"}], "x": ' + b"[" * 100_000,
        b'{"model": "m", "messages": ' + b"[" * 100_000,
        b'{"messages": []}',
        body({"role": "user", "content": "x" * (4 * CONTEXT_TOKENS)}),
    ],
)
def test_hostile_bodies_are_refused(data: bytes) -> None:
    with pytest.raises(RefusedError) as caught:
        read_asked(data)
    assert "\n" not in str(caught.value)


def test_a_named_tool_is_the_only_one_left_and_forced() -> None:
    choice = {"type": "function", "function": {"name": "g"}}
    asked = read_asked(body(USER, tools=[tool("f"), tool("g")], tool_choice=choice))
    assert [one.name for one in asked.request.tools] == ["g"]
    assert asked.request.tool_choice == "any"


ROLES = st.sampled_from(["system", "user", "assistant", "tool"])
SOME_CALLS: list[dict[str, Any]] = [*calls(A)["tool_calls"], {}]
CALL_LISTS = st.lists(st.sampled_from(SOME_CALLS), max_size=2)
OPTIONAL: dict[str, st.SearchStrategy[Any]] = {
    "content": st.none() | st.text(max_size=20),
    "tool_call_id": st.sampled_from([A, B, "x"]),
    "tool_calls": CALL_LISTS,
}
MESSAGE: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"role": ROLES}, optional=OPTIONAL
)
MESSAGES = st.lists(MESSAGE, max_size=6)


@given(MESSAGES)
def test_whatever_passes_keeps_the_rules(messages: list[dict[str, Any]]) -> None:
    try:
        asked = read_asked(body(*messages))
    except RefusedError:
        return
    roles = [message.role for message in asked.request.messages]
    assert ("tool", "user") not in pairwise(roles)
    assert "system" not in roles[len([role for role in roles if role == "system"]) :]
    made = sum(len(message.tool_calls) for message in asked.request.messages)
    assert made == roles.count("tool")
