"""What holds for every text: no exception, calls come back as written, work grows with length."""

import json
import sys
from types import FrameType
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galerne.messages.chat import ToolCall
from galerne.models.repair import parse_calls, tool_calls

KNOWN = ("add", "get_weather", "math.sum_of")
PIECES = st.sampled_from(
    [
        "[TOOL_CALLS]", "[ARGS]", "[CALL_ID]", "```", "```json\n", "\n```\n", "`", "{", "}", "[",
        "]", "(", ")", '"', "'", '"""', "\\", "\\_", "\n", " ", ",", ":", "=", "#", "add", "x",
        "get_weather", "name", '"name": "add"', '"arguments": {"a": 1}', "add(a=1)", 'add{"a": 1}',
        '{"name": "add", "arguments": {"a": 1}}', "<tool_call>", "</tool_call>", "<function=add>",
        "</function>", "-1", "1e5", "NaN", "True", "null", "\\u12", "\ud800", "é",
    ]
)  # fmt: skip
TEXTS = st.lists(PIECES, max_size=14).map("".join)
WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
)
ARGUMENTS = st.dictionaries(WORDS, VALUES, max_size=4)
KEYWORDS = st.dictionaries(st.from_regex(r"[a-z][a-z_0-9]{0,8}", fullmatch=True), VALUES)


@given(TEXTS)
def test_any_text_is_read_and_what_is_found_can_be_sent(text: str) -> None:
    parsed = parse_calls(text, KNOWN, {"add": ("a", "b")})
    for call in tool_calls(parsed, lambda position: f"call{position}"):
        assert call.name in KNOWN
        assert isinstance(msgspec.json.decode(call.arguments), dict)
    if not parsed.tried and parsed.syntax is None and "[TOOL_" not in text and "<" not in text:
        assert parsed.content == text


@given(ARGUMENTS)
def test_json_arguments_come_back_as_written(arguments: dict[str, Any]) -> None:
    written = json.dumps(arguments)
    for text in (
        f'{{"name": "add", "arguments": {written}}}',
        f'[TOOL_CALLS] [{{"arguments": {written}, "name": "add"}}]',
        f"[TOOL_CALLS]add{written}",
        f"<function=add>{json.dumps(arguments, ensure_ascii=False)}</function>",
    ):
        [call] = parse_calls(text, KNOWN).calls
        assert call.arguments == arguments


@given(ARGUMENTS, KEYWORDS)
def test_python_literals_come_back_as_written(
    arguments: dict[str, Any], keywords: dict[str, Any]
) -> None:
    [data] = parse_calls(repr([{"name": "add", "arguments": arguments}]), KNOWN).calls
    assert data.arguments == arguments
    inside = ", ".join(f"{name}={value!r}" for name, value in keywords.items())
    [call] = parse_calls(f"[add({inside})]", KNOWN).calls
    assert call.arguments == keywords


@given(ARGUMENTS, st.data())
def test_a_call_cut_anywhere_in_its_arguments_is_never_made(
    arguments: dict[str, Any], data: st.DataObject
) -> None:
    written = json.dumps(arguments)
    length = data.draw(st.integers(0, len(written) - 1))
    for before in ('{"name": "add", "arguments": ', "[TOOL_CALLS]add[ARGS]", "<function=add>"):
        assert parse_calls(before + written[:length], KNOWN).calls == ()


def test_the_models_own_ids_are_kept_and_others_are_asked_for() -> None:
    text = '[TOOL_CALLS][{"name":"add","arguments":{},"id":"abc"},{"name":"add","arguments":{}}]'
    assert tool_calls(parse_calls(text, KNOWN), "new{}".format) == (
        ToolCall("abc", "add", "{}"),
        ToolCall("new1", "add", "{}"),
    )


REPEATED = [
    "[",
    "{",
    '{"a":',
    "[TOOL_CALLS]",
    "[TOOL_CALLS][",
    '[TOOL_CALLS]{"',
    '[TOOL_CALLS]f("x",',
    '[TOOL_CALLS]add{"a": 1}',
    "[TOOL_CALLS] word",
    "<tool_call>",
    "<function=add>{",
    "```\n{'a\n```\n",
    '```\n["x","\n```\n',
    "```json",
    "```\nadd(a=1)\n```\n",
    "add(a=1)\n",
    "add(",
    "a.",
    "\\_",
    " ",
    "\n",
    "#",
    '"',
    '"""',
    "`",
    '{"name": "add", "arguments": {}}',
]


def steps(text: str) -> int:
    """Lines of Python run to read `text`: a count, not a time."""
    count = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        count += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        parse_calls(text, KNOWN)
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("unit", REPEATED)
def test_work_grows_no_faster_than_the_text(unit: str) -> None:
    small = steps(unit * 100)
    assert steps(unit * 400) <= 4 * small + 200


@pytest.mark.parametrize("unit", REPEATED)
def test_a_long_text_of_anything_is_read(unit: str) -> None:
    # Work inside the regular expressions is not counted above; here it could not stay unseen.
    for before in ("", "[TOOL_CALLS]", '[TOOL_CALLS][{"name": "add", "arguments": {"a": '):
        parsed = parse_calls(before + unit * (300_000 // len(unit)), KNOWN)
        assert all(call.name in KNOWN for call in parsed.calls)
