"""A job's progress where there is no terminal: one plain line for each change.

A claim is renewed again and again while its task runs; what was said of it once is remembered, so
that a start is told once, and a task given back is told as one that is tried again. A task that
waits for a person is not: its question is told, with the command that settles it, and the answer.
"""

from galerne.cli.questions import asked_text, decided_text, name_of, settle_text
from galerne.cli.spending import moved_text
from galerne.cli.text import how_text, one_line, seconds_text
from galerne.core.asks import PARKED
from galerne.core.state import JobState, TaskTimes
from galerne.messages.facts import (
    AnyFact,
    Asked,
    Cancelled,
    Claimed,
    Decided,
    Done,
    Ended,
    Moved,
    PlanEnded,
    Planned,
    Submitted,
)
from galerne.messages.ids import TaskId
from galerne.messages.plan import Failed, Succeeded, TaskSpec


class Lines:
    """The lines of one job."""

    def __init__(self) -> None:
        self._told: set[tuple[TaskId, str, int]] = set()

    def after(self, fact: AnyFact, state: JobState) -> str | None:
        """What to say about `fact`, with `state` as it is after it; None: nothing."""
        if isinstance(fact, Claimed):
            return self._claim(fact, state)
        if isinstance(fact, Moved):
            return moved_text(fact)
        return _change(fact, state)

    def _claim(self, claim: Claimed, state: JobState) -> str | None:
        if claim.until <= 0:
            note = claim.note or "it was given back"
            return (
                None if note.startswith(PARKED) else f"{claim.task} is tried again: {_first(note)}"
            )
        held = (claim.task, claim.by, claim.attempt)
        if held in self._told:
            return None
        self._told.add(held)
        number = claim.attempt - state.resumed.get(claim.task, 0)
        again = f", attempt {number}" if number > 1 else ""
        runs = "goes on, on" if number < claim.attempt else "runs on"
        return f"{claim.task} {runs} {one_line(claim.by, 80)}{again}"


def _change(fact: AnyFact, state: JobState) -> str | None:
    match fact:
        case Submitted(job=job):
            return f"{job.id}: {one_line(job.goal, 200)}"
        case Planned(task=task):
            return f"planned {_what(task)}"
        case PlanEnded(rejected=rejected) if rejected:
            return f"the plan lacks {len(rejected)} unusable tasks: {_first(rejected[0].reason)}"
        case Done(task=task, outcome=Succeeded()):
            return f"{task} succeeded{_took(state, task)}"
        case Done(task=task, outcome=Failed(message=message)):
            return f"{task} failed{_took(state, task)}: {one_line(message, 300)}"
        case Asked():
            command = settle_text(state.job.id if state.job else "", name_of(fact), fact.what)
            return f"{asked_text(fact)}\n  {command}"
        case Decided():
            return decided_text(fact)
        case Cancelled(why=why):
            return f"to be cancelled: {one_line(why, 200)}"
        case Ended(status=status, at=at):
            took = "" if state.submitted_at is None else seconds_text(at - state.submitted_at)
            return f"the job {how_text(status)} after {took}"
        case _:
            return None


def _what(task: TaskSpec) -> str:
    needs = f" after {', '.join(task.needs)}" if task.needs else ""
    tool = f" {one_line(task.tool, 64)}" if task.tool else ""
    words = f": {one_line(task.instruction, 200)}" if task.instruction else ""
    return f"{task.id} ({task.kind}{tool}{needs}){words}"


def _first(text: str) -> str:
    return one_line(text, 200)


def _took(state: JobState, task: TaskId) -> str:
    times = state.times.get(task, TaskTimes())
    if times.claimed is None or times.done is None:
        return ""
    return f" in {seconds_text(max(0.0, times.done - times.claimed))}"
