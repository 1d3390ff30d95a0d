"""The stand-in's summaries: beginnings, word for word."""

from galerne.messages.facts import Turn
from galerne.models.standin.answers import Say
from galerne.models.standin.rules import respond
from galerne.models.standin.summing_up import LONGEST
from galerne.planner import summary_request


def test_each_turn_is_a_line_with_its_beginning() -> None:
    turns = (
        Turn("Count a.txt", "a.txt has 7 words.\n\n(signed)"),
        Turn("Why\n# so?", "word " * 99),
    )
    assert respond(summary_request(turns)) == Say(
        "Asked: Count a.txt Answered: a.txt has 7 words. (signed)\n"
        f"Asked: Why # so? Answered: {'word ' * 20}…"
    )


def test_the_newest_have_the_room() -> None:
    answer = respond(summary_request([Turn(f"Goal {n}", "x" * 60) for n in range(100)]))
    assert isinstance(answer, Say)
    assert len(answer.text) <= LONGEST
    assert answer.text.endswith(f"Asked: Goal 99 Answered: {'x' * 60}")
