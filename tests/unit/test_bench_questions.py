"""Which answers of a real model the benchmark counts as right."""

import pytest
from bench.questions import Question

WHICH = Question(goal="Which file mentions Lisbon?", facts=("gannet",))
LONGER = Question(goal="Which is longer?", facts=("gannet", "62"), other="heron")
LINE = Question(goal="What is the first line?", facts=("# 18. Numbers that no result says",))


@pytest.mark.parametrize(
    ("question", "answer", "right"),
    [
        (WHICH, "ships/gannet.txt", True),
        (WHICH, "The file ships/gannet.txt mentions it. The others do not.", True),
        (WHICH, "The file ships/gannet.txt does not mention Lisbon.", False),
        (WHICH, "It isn't in gannet.", False),
        (WHICH, "ships/gannets.txt", False),
        (LONGER, "gannet has 62 words, heron 32.", True),
        (LONGER, "heron and gannet have 62 words.", False),
        (LONGER, "gannet has 162 words.", False),
        (LINE, "It is `# 18. Numbers that no result says`.", True),
        (
            LINE,
            "The first line of a/who-says-no-12.md is `# 18. Numbers that no result says`.",
            True,
        ),
        (LINE, "It is `Numbers that no result says`.", False),
    ],
)
def test_an_answer_is_right_when_it_says_each_fact_and_denies_none(
    question: Question, answer: str, right: bool
) -> None:
    assert question.is_right(answer) is right
