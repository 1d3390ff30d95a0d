"""A job's progress where there is no terminal: one plain line for each change.

A claim is renewed again and again while its task runs; what was said of it once is remembered, so
that a start is told once, and a task given back is told as one that is tried again.
"""

from galerne.cli.text import one_line, seconds_text
from galerne.core.state import JobState, TaskTimes
from galerne.messages.facts import (
    AnyFact,
    Cancelled,
    Claimed,
    Done,
    Ended,
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
            return self._claim(fact)
        return _change(fact, state)

    def _claim(self, claim: Claimed) -> str | None:
        if claim.until <= 0:
            return f"{claim.task} is tried again: {_first(claim.note or 'it was given back')}"
        held = (claim.task, claim.by, claim.attempt)
        if held in self._told:
            return None
        self._told.add(held)
        again = f", attempt {claim.attempt}" if claim.attempt > 1 else ""
        return f"{claim.task} runs on {one_line(claim.by, 80)}{again}"


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
        case Cancelled(why=why):
            return f"to be cancelled: {one_line(why, 200)}"
        case Ended(status=status, at=at):
            took = "" if state.submitted_at is None else seconds_text(at - state.submitted_at)
            return f"the job {'was cancelled' if status == 'cancelled' else status} after {took}"
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
