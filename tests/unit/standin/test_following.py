"""A goal that goes on with a conversation."""

import pytest

from galerne.messages.chat import ChatMessage
from galerne.models.standin.planning import plan
from galerne.models.standin.rules import respond
from unit.standin.prompting import TOOLS, plan_of, planner_request

COUNTED = "Count the words in README.md and LICENSE"
COUNTS = [("Count the words of README.md.", ()), ("Count the words of LICENSE.", ())]


def short(goal: str, *earlier: str) -> list[tuple[str, tuple[str, ...]]]:
    """Each task as (instruction, needs)."""
    tasks = plan(goal, TOOLS, earlier=earlier)
    return [(task.instruction, tuple(task.needs)) for task in tasks]


@pytest.mark.parametrize(
    ("goal", "last"),
    [
        ("Which of them is longer?", "Say which is longer."),
        ("And which is the shortest?", "Say which is the shortest."),
        ("What is their total?", "Calculate the total."),
    ],
)
def test_it_works_on_what_was_measured_before(goal: str, last: str) -> None:
    *measured, (instruction, needs) = short(goal, "Compute 2 + 2", COUNTED)
    assert measured == COUNTS
    assert needs == ("1", "2")
    assert instruction.split()[:2] == last.split()[:2]


def test_it_passes_over_goals_that_measured_nothing() -> None:
    """The one before was a follow-up itself."""
    assert short("And their total?", COUNTED, "Which of them is longer?")[:2] == COUNTS


def test_another_unit_is_counted_anew() -> None:
    assert short("Which of them has more lines?", COUNTED)[:2] == [
        ("Count the lines of README.md.", ()),
        ("Count the lines of LICENSE.", ()),
    ]


def test_a_goal_that_says_what_it_is_about_needs_no_conversation() -> None:
    for goal in ("Which is longer, a.txt or b.txt?", "Count the words in a.txt", "Hello!"):
        assert short(goal, COUNTED) == short(goal)


def test_without_anything_measured_it_says_so_later() -> None:
    alone = [("Say which is longer.", ())]
    assert short("Which of them is longer?") == alone
    assert short("Which of them is longer?", "Hello!") == alone
    assert short("Which of them is longer?", f"{COUNTED} and in other.t…") == alone


def test_it_reads_the_conversation_from_the_prompt() -> None:
    request = planner_request("Which of them is longer?")
    system, user = request.messages
    told = f"# Earlier in this conversation\n\n## Goal\n{COUNTED}\n\n## Answer\n\\# Done\n\n"
    asked = type(request)((system, ChatMessage("user", told + user.content)))
    instructions = [task["instruction"] for task in plan_of(respond(asked))]
    assert instructions == [*(text for text, _ in COUNTS), "Say which is longer."]
