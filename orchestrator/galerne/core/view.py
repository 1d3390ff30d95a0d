"""A job as people look at it: what `show` prints and the live tree draws."""

from typing import Any, Literal

import msgspec

from galerne.core.state import JobState, TaskTimes
from galerne.messages.facts import JobStatus, ModelStep, Ready
from galerne.messages.ids import TaskId
from galerne.messages.plan import Failed, ModelUsage, Succeeded, TaskSpec, Usage

TaskStatus = Literal["waiting", "ready", "running", "succeeded", "failed", "cancelled"]


class TaskView(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One task. `seconds` runs from the first claim to the outcome (or to now)."""

    id: TaskId
    kind: str
    status: TaskStatus
    instruction: str = ""
    needs: tuple[TaskId, ...] = ()
    tool: str | None = None
    attempt: int = 0
    by: str | None = None
    seconds: float | None = None
    usage: Usage = Usage()
    result: Any = None
    error: str | None = None


class JobView(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One job. `status` is `queued` until a coordinator has admitted it."""

    id: str
    tenant: str
    status: JobStatus | Literal["queued", "running"]
    goal: str = ""
    submitted_at: float | None = None
    seconds: float | None = None
    tasks: tuple[TaskView, ...] = ()
    usage: Usage = Usage()
    result: Any = None
    error: str | None = None


def view(state: JobState, job: str, tenant: str, now: float) -> JobView:
    """`now` is Unix seconds; it only serves for the times of what is still going on."""
    ended = state.ended
    until = ended.at if ended else now
    status = ended.status if ended else ("running" if state.job else "queued")
    spent = _spent(state)
    tasks = tuple(_task(state, task, spec, until, spent) for task, spec in _tasks(state))
    return JobView(
        id=job,
        tenant=tenant,
        status=status,
        goal=state.job.goal if state.job else "",
        submitted_at=state.submitted_at,
        seconds=None if state.submitted_at is None else max(0.0, until - state.submitted_at),
        tasks=tasks,
        usage=_total(tasks),
        result=ended.result if ended else None,
        error=ended.error if ended else None,
    )


def _tasks(state: JobState) -> list[tuple[TaskId, TaskSpec]]:
    """Plan tasks, then the planned ones in plan order, then the answer."""
    unplanned = sorted(state.ready.keys() - state.planned.keys())
    own = [(task, state.ready[task].task) for task in unplanned]
    planned = [(item.task.id, item.task) for item in state.in_plan_order()]
    plans = [pair for pair in own if pair[1].kind == "plan"]
    return [*plans, *planned, *(pair for pair in own if pair[1].kind != "plan")]


def _task(
    state: JobState, task: TaskId, spec: TaskSpec, until: float, spent: dict[TaskId, Usage]
) -> TaskView:
    times = state.times.get(task, TaskTimes())
    claim, done = state.claims.get(task), state.done.get(task)
    started = times.claimed
    finished = times.done if times.done is not None else until
    outcome = done.outcome if done else None
    return TaskView(
        id=task,
        kind=spec.kind,
        status=_status(state, task),
        instruction=spec.instruction,
        needs=() if spec.kind == "answer" else spec.needs,
        tool=spec.tool,
        attempt=done.attempt if done else (claim.attempt if claim else 0),
        by=done.by if done else (claim.by if claim else None),
        seconds=None if started is None else max(0.0, finished - started),
        usage=done.usage if done else spent.get(task, Usage()),
        result=outcome.value if isinstance(outcome, Succeeded) else None,
        error=outcome.message if isinstance(outcome, Failed) else None,
    )


def _status(state: JobState, task: TaskId) -> TaskStatus:
    done = state.done.get(task)
    if done is not None:
        return "succeeded" if isinstance(done.outcome, Succeeded) else "failed"
    if state.ended is not None:
        return "cancelled"
    claim = state.claims.get(task)
    if claim is not None and claim.until > 0:
        return "running"
    return "ready" if isinstance(state.ready.get(task), Ready) else "waiting"


def _spent(state: JobState) -> dict[TaskId, Usage]:
    """What the steps of tasks without an outcome have used."""
    spent: dict[TaskId, Usage] = {}
    for (task, _), step in state.steps.items():
        if task not in state.done:
            spent[task] = spent.get(task, Usage()).plus(step_usage(step))
    return spent


def step_usage(step: object) -> Usage:
    """What one journaled step has cost."""
    if isinstance(step, ModelStep):
        spent = ModelUsage(
            calls=1,
            prompt_tokens=step.usage.prompt_tokens,
            completion_tokens=step.usage.completion_tokens,
        )
        return Usage(models={step.model: spent})
    return Usage(tool_calls=1)


def _total(tasks: tuple[TaskView, ...]) -> Usage:
    total = Usage()
    for task in tasks:
        total = total.plus(task.usage)
    return total
