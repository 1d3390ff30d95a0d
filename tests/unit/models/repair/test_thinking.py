"""Thinking that a server left in the text is no part of the answer, however the text comes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galerne.messages.chat import ChatMessage, ChatReply, ToolSchema
from galerne.models.mending import Hearing, Offered, mended
from galerne.models.output import valued
from galerne.models.repair import ThinkingFilter, without_thinking

ADD = ToolSchema("add", "", {"type": "object", "properties": {"a": {"type": "integer"}}})
CALL = '[{"name": "add", "arguments": {"a": 1}}]'

parts = st.sampled_from(
    ["<think>", "</think>", "[THINK]", "[/THINK]", " ", "\n", "a word", "<th", "[TOOL_CALLS]", CALL]
)
texts = st.lists(parts, max_size=8).map("".join)


def pieces(text: str, size: int) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<think>so</think>\n\n7", "7"),
        ("[THINK]so[/THINK]7", "7"),
        (" \n<think>one</think> <think>two</think> 7", "7"),
        ("<think>so, and on", ""),
        ("[THINK]</think>7", ""),
        ("I say <think>7</think>", "I say <think>7</think>"),
        ("  7 ", "  7 "),
        ("<thinker>7", "<thinker>7"),
    ],
)
def test_the_answer_begins_after_the_thinking(text: str, answer: str) -> None:
    assert without_thinking(text) == answer


@given(texts, st.integers(1, 12))
def test_it_is_the_same_in_pieces(text: str, size: int) -> None:
    passing = ThinkingFilter()
    shown = "".join(passing.feed(piece) for piece in pieces(text, size))
    whole = without_thinking(text)
    assert whole.startswith(shown)
    held = whole.removeprefix(shown).strip()
    assert "<think>".startswith(held) or "[THINK]".startswith(held)


@given(texts, st.integers(1, 12), st.booleans())
def test_who_watches_sees_the_content_and_no_more(text: str, size: int, tools: bool) -> None:
    offered = Offered.of((ADD,) if tools else (), "auto")
    reply = mended(ChatReply(ChatMessage("assistant", text), "m"), offered)
    shown: list[str] = []
    hearing = Hearing(offered, shown.append)
    for piece in pieces(text, size):
        hearing.hear(piece)
    hearing.end(reply.message.content)
    if not reply.complaint:  # the words around a call of no tool are withdrawn
        assert "".join(shown) == reply.message.content


def test_a_call_that_is_only_thought_of_is_not_made() -> None:
    offered = Offered.of((ADD,), "auto")
    thought = ChatReply(ChatMessage("assistant", f"<think>{CALL}</think>No."), "m")
    assert mended(thought, offered).message == ChatMessage("assistant", "No.")
    called = ChatReply(ChatMessage("assistant", f"<think>hm</think>[TOOL_CALLS]{CALL}"), "m")
    assert [call.name for call in mended(called, offered).message.tool_calls] == ["add"]


def test_a_value_that_is_only_thought_of_is_not_taken() -> None:
    text = '<think>{"n": 5}</think>{"n": 6}'
    reply = mended(ChatReply(ChatMessage("assistant", text), "m"), Offered())
    assert valued(reply, {"type": "object"}).value == {"n": 6}
