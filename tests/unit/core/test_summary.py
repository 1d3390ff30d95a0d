"""When older turns are summed up, and which summaries are taken."""

from typing import Any

import pytest

from galerne.core.history import fitted
from galerne.core.summary import (
    FULL,
    GOAL,
    LEAST,
    LEFT,
    LIMIT,
    LONGEST,
    Summary,
    length,
    summary_of,
    to_sum_up,
    usable,
)
from galerne.messages.facts import Turn
from galerne.messages.sessions import Said


def turn(n: int, size: int = 500) -> Turn:
    return Turn(f"Goal {n}", "x" * (size - len(f"Goal {n}")), f"j-{n}")


def test_nothing_is_summed_up_while_there_is_room() -> None:
    turns = [turn(n) for n in range(int(FULL * LIMIT) // 500)]
    assert to_sum_up(turns) == ()
    assert to_sum_up([]) == ()


def test_the_older_turns_are_summed_up_once_it_is_full() -> None:
    turns = [turn(n) for n in range(int(FULL * LIMIT) // 500 + 1)]
    older = to_sum_up(turns)
    assert list(older) == turns[: len(older)]
    assert LEFT * LIMIT - 500 < sum(map(length, turns[len(older) :])) <= LEFT * LIMIT


def test_the_newest_turn_is_never_summed_up() -> None:
    older = to_sum_up([*(turn(n) for n in range(20)), turn(20, 60_000)])
    assert [one.job for one in older] == [f"j-{n}" for n in range(20)]


def test_little_is_not_worth_a_call() -> None:
    """A long newest turn leaves an excerpt full, however often the rest was summed up."""
    summary = Turn(GOAL, "x" * LONGEST)
    assert to_sum_up([summary, turn(1, 60_000)]) == ()
    assert to_sum_up([summary, turn(1, LEAST - 1), turn(2, 60_000)]) == ()
    assert len(to_sum_up([summary, turn(1, LEAST), turn(2, 60_000)])) == 2


def test_a_conversation_is_summed_up_once_in_many_jobs_and_keeps_every_turn() -> None:
    """Each turn is either whole in the excerpt, or covered by a summary: none is left out."""
    said: list[Said] = []
    calls = 0
    for n in range(300):
        history = fitted(said, 500_000)
        covered = {one.job for one in said} - {one.job for one in history}
        assert all(len(one.answer) == 300 for one in history if one.job)
        assert not covered or history[0].goal == GOAL
        older = to_sum_up(history)
        calls += bool(older)
        summary = Summary("short", older[-1].job) if older else None
        said.append(
            Said(
                job=f"j-{n}",
                goal=f"Goal {n}",
                answer="x" * 300,
                at=float(n),
                summary=summary.text if summary else None,
                until=summary.until if summary else None,
            )
        )
    assert 5 < calls < 20


OLDER = (Turn("How many words has a.txt?", "a.txt has 1,234 words." * 3, "j-7"),)


@pytest.mark.parametrize("text", ["a.txt has 1234 words.", " The words of a.txt were counted.\n"])
def test_what_says_the_same_is_taken(text: str) -> None:
    assert usable(text, OLDER) == Summary(text.strip(), "j-7")


@pytest.mark.parametrize("text", ["", " \n", "a.txt has 1,243 words.", "word " * 100])
def test_what_is_none_or_has_other_numbers_is_not(text: str) -> None:
    assert usable(text, OLDER) is None


def test_a_long_one_is_cut_with_a_mark() -> None:
    older = (Turn("Goal", "word " * 2_000, "j-7"),)
    found = usable("word " * 1_000, older)
    assert found is not None
    assert "more characters]" in found.text
    assert len(found.text) < LONGEST + 60


@pytest.mark.parametrize(
    "value",
    [None, {"tasks": 3}, {"summary": "text"}, {"summary": {"text": 1}}, 7, {"summary": None},
     {"summary": {"text": "", "until": "j-1"}}, {"summary": {"text": "x"}}, {"$blob": "a"}],
)  # fmt: skip
def test_a_plan_without_a_usable_summary_has_none(value: Any) -> None:
    assert summary_of(value) is None


def test_a_plans_summary_is_read_from_its_value_and_bounded() -> None:
    assert summary_of({"tasks": 3, "summary": {"text": "short", "until": "j-1"}}) == Summary(
        "short", "j-1"
    )
    found = summary_of({"summary": {"text": "x" * 100_000, "until": "j-1"}})
    assert found is not None
    assert len(found.text) < LONGEST + 60
