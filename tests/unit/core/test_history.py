"""What is kept of a job for its conversation, and how much of a conversation a job sees."""

import operator
import string

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from galerne.core.history import ANSWER_LIMIT, fitted, said
from galerne.core.summary import GOAL, LIMIT, LONGEST, Summary
from galerne.messages.codec import encode
from galerne.messages.facts import Turn
from galerne.messages.sessions import Said

ROOM = 500_000
"""Bytes of a message."""
words = st.text(st.sampled_from(string.ascii_letters + " \n…€🦊"), max_size=40)
texts: st.SearchStrategy[str] = st.builds(operator.mul, words, st.integers(0, 900))
said_before = st.lists(st.tuples(texts, texts), max_size=30)


def turn(n: int, *, answer: str = "42") -> Said:
    return Said(job=f"j-{n}", goal=f"Goal {n}", answer=answer, at=float(n))


def length(shown: Turn) -> int:
    return len(shown.goal) + len(shown.answer)


def test_a_short_conversation_is_shown_as_it_was() -> None:
    assert fitted([turn(1), turn(2)], ROOM) == (
        Turn("Goal 1", "42", "j-1"),
        Turn("Goal 2", "42", "j-2"),
    )
    assert fitted([], ROOM) == ()


def test_the_newest_turns_are_whole_and_older_ones_a_line_each() -> None:
    long = "first line\n" + "x" * 7_000
    shown = fitted([turn(n, answer=long) for n in range(1, 6)], ROOM)
    assert [one.job for one in shown] == ["j-1", "j-2", "j-3", "j-4", "j-5"]
    assert [one.answer == long for one in shown] == [False, False, False, True, True]
    for one in shown[:3]:
        assert one.answer.startswith("first line xxx")
        assert one.answer.endswith("…")
        assert "\n" not in one.answer
        assert length(one) < 400
    assert sum(map(length, shown)) <= LIMIT


def test_the_oldest_turns_are_counted_in_one_mark() -> None:
    shown = fitted([turn(n, answer="x" * 300) for n in range(1, 201)], ROOM)
    mark, *rest = shown
    assert mark.job == ""
    assert mark.goal == f"[{200 - len(rest)} earlier goals]"
    assert rest[-1] == Turn("Goal 200", "x" * 300, "j-200")
    assert [one.job for one in rest] == [f"j-{n}" for n in range(201 - len(rest), 201)]


def test_the_newest_turn_is_whole_however_long_it_is() -> None:
    shown = fitted([turn(1), turn(2, answer="x" * ANSWER_LIMIT)], ROOM)
    assert shown[-1].answer == "x" * ANSWER_LIMIT
    assert [one.job for one in shown] == ["", "j-2"]


def test_what_no_message_could_hold_is_cut_with_a_mark() -> None:
    """A goal with many inputs may leave little room beside it."""
    conversation = [turn(n, answer="🦊" * 20_000) for n in range(1, 4)]
    shown = fitted(conversation, 10_000)
    assert len(encode(shown)) <= 10_000
    assert shown[-1].job == "j-3"
    assert "more characters]" in shown[-1].answer
    assert fitted(conversation, 100) == ()


@given(said_before, st.integers(2, 200_000))
def test_a_conversation_keeps_its_order_and_its_size(
    before: list[tuple[str, str]], room: int
) -> None:
    conversation = [
        Said(job=f"j-{n}", goal=f"Goal {goal}", answer=answer, at=1.0)
        for n, (goal, answer) in enumerate(before)
    ]
    shown = fitted(conversation, room)
    assert len(encode(shown)) <= room
    jobs = [one.job for one in shown if one.job]
    assert jobs == [one.job for one in conversation][len(conversation) - len(jobs) :]
    marks = [one.goal for one in shown if not one.job]
    left_out = len(conversation) - len(jobs)
    if shown and left_out:
        assert marks == [f"[{left_out} earlier goal{'s' if left_out > 1 else ''}]"]
    else:
        assert marks == []
    if conversation and room > 150_000:
        newest = conversation[-1]
        assert shown[-1] == Turn(newest.goal, newest.answer, newest.job)
        assert sum(map(length, shown[:-1])) <= LIMIT


def test_an_answer_is_kept_as_text() -> None:
    assert said("j-1", "Goal", "The answer.", 5.0, ROOM) == Said(
        job="j-1", goal="Goal", answer="The answer.", at=5.0
    )
    assert said("j-1", "Goal", {"total": 3}, 5.0, ROOM).answer == '{"total":3}'
    assert said("j-1", "Goal", None, 5.0, ROOM).answer == "null"


def test_of_an_answer_in_the_object_store_its_beginning_is_kept() -> None:
    """Its content goes with its job, so nobody may be told how to hand it on."""
    blob = {"$blob": "a" * 64, "size": 300_000, "media": "text/plain", "preview": "The answer"}
    kept = said("j-1", "Goal", blob, 5.0, ROOM).answer
    assert kept == "[too large to keep: 293.0 kB; it began:]\nThe answer"


@given(texts, st.recursive(texts, st.lists, max_leaves=5), st.integers(5_000, 400_000))
def test_what_is_kept_fits_a_message(goal: str, result: object, most: int) -> None:
    kept = said("j-1", goal, result, 5.0, most)
    assert len(encode(kept)) <= most
    assert msgspec.json.decode(encode(kept), type=Said) == kept
    if len(goal) < 1_000 and isinstance(result, str) and len(encode(result)) < 2_000:
        assert (kept.goal, kept.answer) == (goal, result)


def summed(n: int, until: int, text: str = "short", answer: str = "42") -> Said:
    return msgspec.structs.replace(turn(n, answer=answer), summary=text, until=f"j-{until}")


def test_a_summary_comes_first_and_takes_the_place_of_what_is_left_out() -> None:
    conversation = [turn(n, answer="x" * 300) for n in range(1, 200)]
    head, *rest = fitted([*conversation, summed(200, 150)], ROOM)
    assert head == Turn(GOAL, "short", "j-150")
    assert [one.job for one in rest] == [f"j-{n}" for n in range(201 - len(rest), 201)]


def test_what_is_neither_shown_nor_summed_up_is_counted() -> None:
    conversation = [turn(n, answer="x" * 300) for n in range(1, 200)]
    head, mark, *rest = fitted([*conversation, summed(200, 5)], ROOM)
    assert head.job == "j-5"
    assert mark.goal == f"[{195 - len(rest)} earlier goals]"


def test_nothing_is_cut_for_a_summary_while_there_is_room() -> None:
    shown = fitted([turn(1), turn(2), summed(3, 1), turn(4)], ROOM)
    assert [one.job for one in shown] == ["j-1", "j-1", "j-2", "j-3", "j-4"]


def test_the_summary_that_reaches_furthest_counts() -> None:
    """Two jobs that run side by side may both sum up."""
    shown = fitted([*map(turn, range(1, 5)), summed(5, 3, "far"), summed(6, 2, "near")], ROOM)
    assert shown[0] == Turn(GOAL, "far", "j-3")


def test_a_summary_outlives_what_it_covers() -> None:
    """The oldest turns go with their age."""
    shown = fitted([turn(3), summed(4, 2), turn(5)], ROOM)
    assert [one.job for one in shown] == ["j-2", "j-3", "j-4", "j-5"]


def test_a_summary_is_kept_whole_beside_turns_that_are_cut() -> None:
    text = "s" * LONGEST
    shown = fitted([summed(1, 0, text), *(turn(n, answer="x" * 7_000) for n in range(2, 8))], ROOM)
    assert shown[0].answer == text
    assert shown[-1].answer == "x" * 7_000
    assert sum(map(length, shown)) <= LIMIT


def test_a_turn_carries_the_summary_of_what_was_said_before_it() -> None:
    kept = said("j-9", "Goal", "x", 5.0, ROOM, Summary("short", "j-3"))
    assert (kept.summary, kept.until) == ("short", "j-3")
    assert said("j-9", "Goal", "x", 5.0, ROOM).summary is None
