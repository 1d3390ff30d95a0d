"""When a conversation has grown long, a model puts its older turns in a few sentences.

what no summary covers fills `FULL` of a job's excerpt ─▶ its planner, once the plan is written,
                                                          sums up the older half
the job succeeds ─▶ its turn carries the summary, and the last job that it covers
the next begins ─▶ the summary first; turns that it covers make room when there is none left

So it costs a call in many jobs, and nobody waits for it: the plan's tasks run meanwhile.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from galerne.core.grounding import Sources, unsupported
from galerne.core.one_line import one_line
from galerne.core.shorten import shorten
from galerne.messages.facts import Turn

LIMIT: Final = 24_000
"""Characters of earlier turns that a job carries, about 7,000 tokens: beside a planner's prompt of
1,800, 4,096 for its answer and the prompt's other parts they leave half of a 32k context to the
goal and the inputs."""
LONGEST: Final = 2_000
"""Characters of a summary."""
SHORTEST: Final = 200
"""Characters of one that is worth its name, as so much is summed up: small models write a line."""
FULL: Final = 0.75
"""How much of `LIMIT` is used when the older turns are summed up: before any has to be left out."""
LEFT: Final = 0.5
"""How much of it the turns have that are not summed up then."""
LEAST: Final = 2 * LONGEST
"""Characters of what is summed up, at least: less is not worth a call."""
GOAL: Final = "[everything that was said before, in short]"
_GOAL_LINE: Final = 80
_ANSWER_LINE: Final = 120


class Summary(msgspec.Struct, frozen=True):
    """What was said up to the end of the job `until`."""

    text: str
    until: str


def length(turn: Turn) -> int:
    """Its characters."""
    return len(turn.goal) + len(turn.answer)


def to_sum_up(history: Sequence[Turn]) -> Sequence[Turn]:
    """The older turns of a job's excerpt, where it is time to sum them up; else nothing.

    An earlier summary is the first of them, and what it covers does not count. The newest turn
    never is: a goal mostly goes on from it.
    """
    head, after = _uncovered(history)
    if sum(map(length, after)) <= FULL * LIMIT:
        return ()
    room = LEFT * LIMIT
    kept = 0
    for turn in reversed(after):
        room -= length(turn)
        if room < 0:
            break
        kept += 1
    older = after[: len(after) - max(1, kept)]
    said = sum(length(turn) for turn in older if turn.job)
    return (*head, *older) if said >= LEAST and older[-1].job else ()


def _uncovered(history: Sequence[Turn]) -> tuple[Sequence[Turn], Sequence[Turn]]:
    """The summary, if there is one, and the turns that came after all that it covers."""
    if not history or history[0].goal != GOAL:
        return (), history
    last = max((n for n, turn in enumerate(history) if turn.job == history[0].job), default=0)
    return history[:1], history[last + 1 :]


def summed_up(text: str, older: Sequence[Turn]) -> Summary:
    """A model's summary of these turns; by rule where that is none.

    It is none with a number that no turn has: it is to last, and nobody looks into the turns again.
    """
    text = text.strip()
    said = [part for turn in older for part in (turn.goal, turn.answer)]
    fits = SHORTEST <= len(text) <= sum(map(len, said))
    if not fits or unsupported(text, Sources(said, said)):
        text = _by_rule(older)
    return Summary(str(shorten(text, LONGEST)), older[-1].job)


def _by_rule(older: Sequence[Turn]) -> str:
    """How each turn begins, as many of the newest as there is room for."""
    lines: list[str] = []
    room = LONGEST
    for turn in reversed(older):
        answer = one_line(turn.answer, room if turn.goal == GOAL else _ANSWER_LINE)
        line = answer if turn.goal == GOAL else f"{one_line(turn.goal, _GOAL_LINE)} — {answer}"
        room -= len(line) + 1
        if room < 0:
            break
        lines.append(line)
    return "\n".join(reversed(lines))


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
