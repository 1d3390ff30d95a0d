"""What to write next, as a function of a job's state.

    submitted ──▶ ready plan-1 ──▶ planned… ──▶ ready t… ──▶ done t… ──▶ ready answer ──▶ ended
                                     │ (a task starts while the plan is still being written)
    cancelled, or a task failed for good ───────────────────────────────────────────────▶ ended

Two coordinators with the same facts decide the same; the second write conflicts and is dropped.
A task that has an outcome, or a `ready` fact, never gets another `ready` fact.
"""

from typing import Any

import msgspec

from galerne.core.state import JobState
from galerne.messages.facts import AnyFact, Ended, JobSpec, Lane, Ready
from galerne.messages.ids import ANSWER_TASK, TaskId, plan_task
from galerne.messages.plan import Failed, Succeeded, TaskSpec

INPUT_LIMIT = 96_000
"""Characters of earlier results that a task for a model may carry: they fill a 32k context."""

_LANES: dict[str, Lane] = {
    "plan": "planner",
    "answer": "planner",
    "agent": "executor",
    "tool": "executor",
}


def decide(state: JobState, now: float, max_attempts: int = 4) -> list[AnyFact]:
    """The facts that the log still lacks, given what it holds. `now` is Unix seconds."""
    job = state.job
    if job is None or state.ended is not None:
        return []
    ended = _ended(state, now)
    if ended is not None:
        return [ended]
    facts: list[AnyFact] = []
    first_plan = plan_task(1)
    if first_plan not in state.ready and first_plan not in state.done:
        facts.append(_ready(job, TaskSpec(id=first_plan, kind="plan"), job.inputs, max_attempts))
    for task in sorted(state.startable, key=lambda task: _place(state, task)):
        spec = state.planned[task].task
        facts.append(_ready(job, spec, _inputs(state, spec), max_attempts))
    if _may_answer(state):
        needs = tuple(planned.task.id for planned in state.in_plan_order())
        spec = TaskSpec(id=ANSWER_TASK, kind="answer", needs=needs)
        facts.append(_ready(job, spec, _answer_inputs(state), max_attempts))
    return facts


def _ended(state: JobState, now: float) -> Ended | None:
    """The job's end, if its facts already settle it."""
    if state.cancelled is not None:
        why = state.cancelled.why
        return Ended(status="cancelled", usage=state.usage(), at=now, error=why)
    answer = state.done.get(ANSWER_TASK)
    if answer is not None and isinstance(answer.outcome, Succeeded):
        value = answer.outcome.value
        return Ended(status="succeeded", usage=state.usage(), at=now, result=value)
    if state.failed or _is_stuck(state):
        return Ended(status="failed", usage=state.usage(), at=now, error=_why_failed(state))
    return None


def _why_failed(state: JobState) -> str:
    for task in sorted(state.failed, key=lambda task: (state.done[task].at, task)):
        outcome = state.done[task].outcome
        if isinstance(outcome, Failed):
            what = "planning" if task.startswith("plan-") else f"task {task}"
            return f"{what} failed: {outcome.message}"
    if state.succeeded(plan_task(1)) and _lacks_tasks(state):
        return "the plan is incomplete: some of its tasks could not be read"
    names = ", ".join(sorted(state.unfinished)[:10])
    return f"tasks {names} wait for one another or for tasks that nobody planned"


def _is_stuck(state: JobState) -> bool:
    """Whether nothing that is under way or may start can move the job any more."""
    if not state.succeeded(plan_task(1)):
        return False
    if _lacks_tasks(state):
        return True
    return bool(state.unfinished) and not state.startable and not state.under_way


def _lacks_tasks(state: JobState) -> bool:
    """A planner commits its outcome after all its tasks, so a missing one stays missing."""
    return any(
        len(state.numbers.get(revision, ())) < end.count
        for revision, end in state.plan_ends.items()
    )


def _may_answer(state: JobState) -> bool:
    return (
        state.succeeded(plan_task(1))
        and not state.unfinished
        and ANSWER_TASK not in state.ready
        and ANSWER_TASK not in state.done
    )


def _ready(job: JobSpec, task: TaskSpec, inputs: dict[str, Any], max_attempts: int) -> Ready:
    return Ready(
        lane=_LANES.get(task.kind, "executor"),
        priority=job.priority,
        task=task,
        goal=job.goal,
        job_tools=job.tools,
        inputs=inputs,
        max_attempts=max_attempts,
    )


def _inputs(state: JobState, spec: TaskSpec) -> dict[str, Any]:
    """The results of the needs; whole for a tool, fitted to a model's context otherwise."""
    values: dict[str, Any] = {need: _value(state, need) for need in spec.needs}
    if spec.kind == "tool" or not values:
        return values
    share = INPUT_LIMIT // len(values)
    return {need: shorten(value, share) for need, value in values.items()}


def _answer_inputs(state: JobState) -> dict[str, Any]:
    share = INPUT_LIMIT // max(1, len(state.planned))
    return {
        planned.task.id: {
            "instruction": shorten(_what(planned.task), 400),
            "value": shorten(_value(state, planned.task.id), share),
        }
        for planned in state.in_plan_order()
    }


def _what(task: TaskSpec) -> str:
    if task.instruction:
        return task.instruction
    return f"{task.tool} {msgspec.json.encode(task.args or {}).decode()}"


def _value(state: JobState, task: TaskId) -> Any:
    outcome = state.done[task].outcome
    return outcome.value if isinstance(outcome, Succeeded) else None


def shorten(value: Any, limit: int) -> Any:
    """`value` itself, or its text cut to about `limit` characters with a mark that says so."""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    if len(text) <= limit:
        return value
    return f"{text[:limit]}\n[… shortened: {len(text) - limit} more characters]"


def _place(state: JobState, task: TaskId) -> tuple[int, int]:
    planned = state.planned[task]
    return planned.revision, planned.n
