"""When a conversation has grown long, a model puts its older turns in a few sentences.

a job's excerpt is full (`FULL`) ─▶ its planner, once the plan is written, sums up the older turns
the job succeeds ─▶ its turn carries the summary, and the last job that it covers
the next begins ─▶ the summary in the place of those turns, and what came after them whole

So it costs a call in many jobs, and nobody waits for it: the plan's tasks run meanwhile.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from galerne.core.grounding import Sources, unsupported
from galerne.core.shorten import shorten
from galerne.messages.facts import Turn

LIMIT: Final = 24_000
"""Characters of earlier turns that a job carries, about 7,000 tokens: beside a planner's prompt of
1,800, 4,096 for its answer and the prompt's other parts they leave half of a 32k context to the
goal and the inputs."""
LONGEST: Final = 2_000
"""Characters of a summary."""
FULL: Final = 0.75
"""How much of `LIMIT` is used when the older turns are summed up: before any has to be cut."""
LEFT: Final = 0.5
"""How much of it the turns have that stay whole then."""
LEAST: Final = 2 * LONGEST
"""Characters of what is summed up, at least: less is not worth a call."""
GOAL: Final = "[everything that was said before, in short]"


class Summary(msgspec.Struct, frozen=True):
    """What was said up to the end of the job `until`."""

    text: str
    until: str


def length(turn: Turn) -> int:
    """Its characters."""
    return len(turn.goal) + len(turn.answer)


def to_sum_up(history: Sequence[Turn]) -> Sequence[Turn]:
    """The older turns of a job's excerpt, where it is time to sum them up; else nothing.

    An earlier summary is one of them. The newest turn never is: a goal mostly goes on from it.
    """
    if sum(map(length, history)) <= FULL * LIMIT:
        return ()
    room = LEFT * LIMIT
    kept = 0
    for turn in reversed(history):
        room -= length(turn)
        if room < 0:
            break
        kept += 1
    older = history[: len(history) - max(1, kept)]
    said = sum(length(turn) for turn in older if turn.job)
    return older if said >= LEAST and older[-1].job else ()


def usable(text: str, older: Sequence[Turn]) -> Summary | None:
    """A model's summary of these turns; None where it is none, or has numbers that they have not.

    What is summed up is out of sight afterwards, so nobody could tell that it was wrong.
    """
    text = text.strip()
    said = [part for turn in older for part in (turn.goal, turn.answer)]
    if not text or len(text) > sum(map(len, said)) or unsupported(text, Sources(said, said)):
        return None
    return Summary(str(shorten(text, LONGEST)), older[-1].job)


def summary_of(value: Any) -> Summary | None:
    """The summary in a plan's value, from whoever wrote that."""
    try:
        found = msgspec.convert(value, _PlanValue).summary
    except msgspec.ValidationError:
        return None
    if found is None or not found.text or not found.until:
        return None
    return Summary(str(shorten(found.text, LONGEST)), found.until)


class _PlanValue(msgspec.Struct):
    summary: Summary | None = None
