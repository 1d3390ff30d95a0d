"""Whoever watches a streamed answer sees its words at once and never the markup of a call."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from galerne.models.repair import LeakGuard, Parsed, parse_calls

KNOWN = ("add", "get_weather")
PIECES = st.sampled_from(
    [
        "[TOOL_CALLS]", "[TOOL_", "[ARGS]", "```", "```json\n", "\n```\n", "`", "``", "{", "}",
        "[", "]", "(", ")", '"', "\\_", "\n", " ", "   ", "Hello", "add", "x", ".", "#", "<",
        "<|", "\n\n",
        "add(a=1)", 'add{"a": 1}', '{"name": "add", "arguments": {"a": 1}}', "<tool_call>",
        "</tool_call>", "<function=add>", "</function>", "get_wether(a=1)", "[1]", "print(1)",
    ]
)  # fmt: skip
TEXTS = st.lists(PIECES, max_size=12).map("".join)


def watched(text: str, sizes: list[int], known: tuple[str, ...] = KNOWN) -> tuple[str, str]:
    """What is shown while the text comes in pieces of `sizes` (the last repeats), and after."""
    guard = LeakGuard(known)
    shown = ""
    at = 0
    while at < len(text):
        size = sizes.pop(0) if len(sizes) > 1 else sizes[0]
        shown += guard.feed(text[at : at + size])
        at += size
    assert guard.text == text
    return shown, guard.rest(parse_calls(text, known))


@given(TEXTS, st.lists(st.integers(1, 9), min_size=1, max_size=20))
def test_what_is_shown_does_not_depend_on_the_pieces(text: str, sizes: list[int]) -> None:
    whole = watched(text, [max(len(text), 1)])
    assert watched(text, [1]) == whole
    assert watched(text, sizes) == whole
    bare = watched(text, [max(len(text), 1)], ())
    assert watched(text, [1], ()) == bare
    assert watched(text, sizes, ()) == bare


@given(TEXTS)
def test_what_is_shown_is_the_beginning_of_the_content_and_the_rest_completes_it(text: str) -> None:
    parsed = parse_calls(text, KNOWN)
    shown, rest = watched(text, [1])
    assert "[TOOL_CALLS]" not in shown
    if not parsed.unknown:
        assert shown + rest == parsed.content


@given(TEXTS)
@example("```[TOOL_CALLS]{")
def test_without_tools_all_but_markers_is_shown(text: str) -> None:
    parsed = parse_calls(text, ())
    shown, rest = watched(text, [3], ())
    if not parsed.unknown:
        assert shown + rest == parsed.content


@pytest.mark.parametrize(
    ("text", "live"),
    [
        ("Hello there.", "Hello there."),
        ("Hello [TOOL_CALLS]add{}", "Hello"),
        ("Hello [TOOL_", "Hello"),
        ("Hello [TODO] x", "Hello [TODO] x"),
        ("a < b and `c` d", "a < b and `c` d"),
        ('{"name": "add"', ""),
        ("add(a=1", ""),
        ("add(a=1) is a call", ""),
        ("get_wether(city=", ""),
        ("I add\n```python\nadd(a=1)\n```\nand wait", "I add"),
        (
            "I say\n```python\nprint(1)\n```\nand go on",
            "I say\n```python\nprint(1)\n```\nand go on",
        ),
        ("I say\n```python\nprint(1)", "I say"),
        ("See\n```\n[TOOL_CALLS]add{}\n```\nthere", "See"),
        ("<tool_call>{", ""),
        ("   \n", ""),
    ],
)
def test_words_pass_at_once_and_calls_wait(text: str, live: str) -> None:
    assert watched(text, [1])[0] == live


@pytest.mark.parametrize(
    ("text", "live"),
    [
        ('```json\n{"n": 1}, {', '```json\n{"n": 1}, {'),
        ("Plan:\n```\n", "Plan:"),
        ("```json\n[TOOL_CALLS]add{", ""),
        ("```json\n[TODO]", "```json\n[TODO]"),
        ("a\n```\nb\n```\nc", "a\n```\nb\n```\nc"),
    ],
)
def test_without_tools_a_fence_passes_as_soon_as_something_stands_in_it(
    text: str, live: str
) -> None:
    assert watched(text, [1], ())[0] == live
    assert watched(text, [len(text)], ())[0] == live


def test_a_withdrawn_content_shows_nothing_more() -> None:
    text = "Let me check. [TOOL_CALLS]get_wether[ARGS]{} Done."
    assert watched(text, [4]) == ("Let me check.", "")


def test_a_long_answer_in_single_letters_is_shown_whole() -> None:
    text = "\n" * 20_000 + "word <b> [1] `x`  \n" * 5_000
    shown, rest = watched(text, [1])
    assert shown + rest == text
    assert rest == "  \n"


def test_the_rest_of_an_answer_that_was_no_call_is_its_text() -> None:
    guard = LeakGuard(KNOWN)
    assert guard.feed('{"answer": 42}') == ""
    assert guard.rest(Parsed(guard.text)) == '{"answer": 42}'
