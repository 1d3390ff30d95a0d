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
    summed_up,
    to_sum_up,
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
    summary = Turn(GOAL, "x" * LONGEST, "j-0")
    assert to_sum_up([summary, turn(1, 60_000)]) == ()
    assert to_sum_up([summary, turn(1, LEAST - 1), turn(2, 60_000)]) == ()
    assert len(to_sum_up([summary, turn(1, LEAST), turn(2, 60_000)])) == 2


def test_what_a_summary_covers_does_not_count() -> None:
    turns = [turn(n) for n in range(60)]
    older = to_sum_up(turns)
    head = Turn(GOAL, "short", older[-1].job)
    assert to_sum_up([head, *turns]) == ()
    more = [turn(n) for n in range(60, 60 + 30)]
    again = to_sum_up([head, *turns, *more])
    assert again[0] == head
    assert again[1] == turns[len(older)]


def test_a_conversation_is_summed_up_once_in_many_jobs_and_keeps_every_turn() -> None:
    """Each turn is whole or a line in the excerpt, or covered by its summary: none is lost."""
    said: list[Said] = []
    calls = 0
    for n in range(300):
        history = fitted(said, 500_000)
        assert not [one for one in history if not one.job], "something was left out"
        last = history[0].job if history and history[0].goal == GOAL else None
        covered = int(last.removeprefix("j-")) + 1 if last else 0
        shown = {one.job for one in history}
        assert all(one.job in shown for one in said[covered:])
        assert sum(map(length, history)) <= LIMIT
        older = to_sum_up(history)
        calls += bool(older)
        summary = Summary("s" * LONGEST, older[-1].job) if older else None
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


OLDER = (
    Turn(GOAL, "LICENSE was read before.", "j-5"),
    Turn("How many words has a.txt?", "a.txt has 1,234 words. " * 30, "j-6"),
    Turn("And b.txt?", "b.txt has 77 words.", "j-7"),
)
BY_RULE = (
    "LICENSE was read before.\n"
    f"How many words has a.txt? — {('a.txt has 1,234 words. ' * 30)[:120]}…\n"
    "And b.txt? — b.txt has 77 words."
)


def test_a_summary_of_some_length_is_taken() -> None:
    text = "The words of a.txt were counted: it has 1234. " * 6
    assert summed_up(f" {text}\n", OLDER) == Summary(text.strip(), "j-7")


@pytest.mark.parametrize(
    "text", ["", " \n", "What is the total?", "a.txt has 1,243 words. " * 20, "word " * 400]
)
def test_of_what_is_none_the_rule_makes_one(text: str) -> None:
    """It is short, repeats nothing but a line, or has a number that nobody said."""
    assert summed_up(text, OLDER) == Summary(BY_RULE, "j-7")


def test_a_rules_summary_has_room_for_the_newest() -> None:
    older = [Turn(f"Goal {n}", "word " * 50, f"j-{n}") for n in range(100)]
    found = summed_up("", older)
    assert len(found.text) <= LONGEST
    assert found.text.splitlines()[-1].startswith("Goal 99 — word")


def test_a_long_one_is_cut_with_a_mark() -> None:
    older = (Turn("Goal", "word " * 2_000, "j-7"),)
    found = summed_up("word " * 1_000, older)
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
