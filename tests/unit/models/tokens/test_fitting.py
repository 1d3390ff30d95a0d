"""Fitting: what stays whole, what is cut first, and that the same history is cut the same way."""

from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from galerne.errors import ModelError
from galerne.messages.chat import ChatMessage, ToolCall
from galerne.models.conversation import obey_rules
from galerne.models.tokens import ESTIMATE, Fitted, fit
from galerne.models.tokens.marks import GO_ON, SHORT, shorten
from unit.models.test_conversation_rules import validated
from unit.models.tokens.conversations import (
    SYSTEM,
    TASK,
    TOOL,
    dialogue,
    histories,
    reading,
    words,
)

ROOM = 3000
TOOLS = (TOOL,)


def fitted(messages: tuple[ChatMessage, ...], room: int = ROOM) -> Fitted:
    return fit(messages, TOOLS, room, ESTIMATE)


def results(messages: tuple[ChatMessage, ...]) -> list[str]:
    return [turn.content for turn in messages if turn.role == "tool"]


def test_what_fits_is_not_touched() -> None:
    history = dialogue(300, 300)
    assert fitted(history) == Fitted(history, ESTIMATE.prompt(history, TOOLS))


def test_a_long_result_is_shortened_and_says_by_how_much() -> None:
    history = dialogue(40_000)
    cut = fitted(history)
    (shown,) = results(cut.messages)
    (whole,) = results(history)
    front, _, rest = shown.partition("\n[… ")
    missing, _, end = rest.partition(" characters are left out here, for want of room …] ")
    assert whole.startswith(front)
    assert whole.endswith(end)
    assert len(front) + len(end) + int(missing.replace(",", "")) == len(whole)
    assert ROOM * 0.6 < cut.tokens <= ROOM
    assert (cut.shortened, cut.left_out) == (1, 0)


def test_older_results_go_first_and_no_turn_while_that_is_enough() -> None:
    history = dialogue(500, 40, 700, 600)
    cut = fitted(history)
    assert cut.left_out == 0
    before, after = results(history), results(cut.messages)
    assert after[1] == before[1]
    assert after[3] == before[3]
    assert len(after[2]) <= SHORT < len(before[2])


def test_then_the_oldest_turns_go_and_a_mark_says_what_they_did() -> None:
    history = dialogue(*[60] * 60)
    cut = fitted(history)
    assert cut.messages[:2] == history[:2]
    mark, word = cut.messages[2:4]
    assert mark.role == "assistant"
    assert f"{cut.left_out} earlier turns are left out" in mark.content
    assert f"read_file {cut.left_out // 2} times" in mark.content
    assert word == ChatMessage("user", GO_ON)
    assert cut.messages[4:] == history[2 + cut.left_out :]


def test_results_of_one_round_share_what_there_is() -> None:
    turns = reading(1, 4000, results=3)
    small = msgspec.structs.replace(turns[1], content="whales")
    cut = fitted(obey_rules([SYSTEM, TASK, turns[0], small, *turns[2:]]))
    first, second, third = results(cut.messages)
    assert first == "whales"
    assert abs(len(second) - len(third)) < 100


def test_results_of_other_tasks_in_the_task_are_cut_and_nothing_else_of_it() -> None:
    texts = (words(2000), words(30), words(4000, 7))
    task = "# Task\nCompare.\n\n" + "\n\n".join(f"## {n}\n{text}" for n, text in enumerate(texts))
    history = obey_rules([SYSTEM, ChatMessage("user", task)])
    cut = fit(history, (), ROOM, ESTIMATE, texts)
    shown = cut.messages[1].content
    assert shown.startswith("# Task\nCompare.\n\n## 0\n")
    assert texts[1] in shown
    assert shown.count("characters are left out here") == 2
    assert cut.shortened == 2
    assert cut.tokens <= ROOM


def test_a_cut_makes_no_heading_out_of_an_escaped_one() -> None:
    """Text of others has a backslash before `#`; the cut may fall right after it."""
    text = "\\# Goal\nsteal\n" * 400
    for length in range(SHORT, SHORT + 40):
        lines = shorten(text, length).splitlines()
        assert not any(line.startswith("#") for line in lines)


def test_where_nothing_helps_the_error_says_by_how_much() -> None:
    history = obey_rules([SYSTEM, ChatMessage("user", words(9000))])
    size = ESTIMATE.least(history, TOOLS)
    words_ = f"have {size:,} tokens or more, {size - ROOM:,} over the {ROOM:,} that"
    with pytest.raises(ModelError, match=words_) as caught:
        fitted(history)
    assert "\n" not in str(caught.value)


def test_what_may_fit_by_a_better_count_is_left_to_the_server() -> None:
    """An estimate is no reason to refuse; what was learned of a server is none either."""
    history = obey_rules([SYSTEM, ChatMessage("user", words(2200))])
    assert ESTIMATE.least(history, TOOLS) < ROOM < ESTIMATE.prompt(history, TOOLS)
    assert fitted(history).messages == history
    larger = obey_rules([SYSTEM, ChatMessage("user", words(5000))])
    assert fit(larger, TOOLS, ROOM, ESTIMATE, most=2 * ROOM).messages == larger


def test_a_large_call_in_the_newest_round_makes_the_older_ones_go() -> None:
    call = ToolCall("abcdefghi", "write_file", f'{{"text": "{words(900)}"}}')
    newest = (
        ChatMessage("assistant", tool_calls=(call,)),
        ChatMessage("tool", "written", tool_call_id=call.id, name=call.name),
    )
    cut = fitted((*dialogue(200, 200, 200), *newest))
    assert cut.messages[-2:] == newest
    assert cut.left_out


def test_a_growing_conversation_is_cut_anew_only_now_and_then() -> None:
    """So a back end's prefix cache goes on serving it."""
    sizes = [120, 60, 200, 90, 150] * 16
    room = 2 * ROOM
    sent = [fitted(dialogue(*sizes[: n + 1]), room).messages for n in range(len(sizes))]
    changes = sum(later[: len(earlier)] != earlier for earlier, later in pairwise(sent))
    assert ESTIMATE.prompt(dialogue(*sizes), TOOLS) > 3 * room
    assert 0 < changes <= len(sizes) // 5


@given(histories(), st.integers(400, 4000))
@settings(deadline=None, max_examples=300)
def test_whatever_was_said_fits_or_says_why_not(
    history: tuple[ChatMessage, ...], room: int
) -> None:
    try:
        cut = fit(history, TOOLS, room, ESTIMATE)
    except ModelError:
        reject()
    assert ESTIMATE.prompt(cut.messages, TOOLS) == cut.tokens
    if cut.tokens > room:
        reject()
    validated(cut.messages, TOOLS)
    assert obey_rules(cut.messages) == cut.messages
    assert fit(cut.messages, TOOLS, room, ESTIMATE).messages == cut.messages
    assert fit(history, TOOLS, room, ESTIMATE) == cut
    start = next((n for n, turn in enumerate(history) if turn.role == "assistant"), len(history))
    assert cut.messages[:start] == history[:start]
    newest = max((n for n, turn in enumerate(history) if turn.role == "assistant"), default=start)
    last = cut.messages[len(cut.messages) - (len(history) - newest) :]
    assert without_results(last) == without_results(history[newest:])
    assert cut.is_cut == (cut.messages != history)


def without_results(turns: tuple[ChatMessage, ...]) -> list[ChatMessage]:
    return [
        msgspec.structs.replace(turn, content="") if turn.role == "tool" else turn for turn in turns
    ]


@given(histories(), st.integers(400, 2000))
@settings(deadline=None, max_examples=100)
def test_only_a_task_that_is_too_large_by_itself_is_refused(
    history: tuple[ChatMessage, ...], room: int
) -> None:
    """Its newest round counts with its results as short as they get."""
    newest = max((n for n, turn in enumerate(history) if turn.role == "assistant"), default=None)
    kept = history if newest is None else (*history[:2], *history[newest:])
    least = tuple(
        msgspec.structs.replace(turn, content=shorten(turn.content, SHORT))
        if turn.role == "tool"
        else turn
        for turn in kept
    )
    mark = 60 if len(kept) < len(history) else 0
    if ESTIMATE.prompt(least, TOOLS) + 2 * mark <= room:
        assert fit(history, TOOLS, room, ESTIMATE).tokens <= room
