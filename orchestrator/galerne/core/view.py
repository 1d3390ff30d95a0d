"""A job as people look at it: what `show` prints and the live tree draws."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from galerne.core.groups import is_planning
from galerne.core.state import JobState, TaskTimes
from galerne.core.usage import step_usage, would_have
from galerne.messages.facts import Accounted, Asked, JobStatus, ModelStep, Moved, Ready
from galerne.messages.ids import TaskId, plan_task
from galerne.messages.plan import (
    DROPPED,
    Budget,
    Failed,
    Outcome,
    Succeeded,
    TaskSpec,
    Usage,
    WouldHave,
)

TaskStatus = Literal[
    "waiting", "ready", "running", "asking", "succeeded", "failed", "cancelled", "dropped"
]
"""`asking` waits for a person (`JobView.asks`); a revision does without what is `dropped`."""


class TaskView(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One task. `seconds` runs from the first claim to the outcome (or to now).

    `resumed` says after how many answers of people it was queued again; the attempts that those
    questions ended are in `attempt`, and nothing was wrong with them. `moves` are the models that
    it went on to, in order. `parent` is the task that it is a part of, and `stands_for` is what
    it has replaced. `again` is why its last attempt ended, while another one runs or is due.
    `progress` is what the tool that it waits for says of itself, where that was
    heard live.
    """

    id: TaskId
    kind: str
    status: TaskStatus
    instruction: str = ""
    needs: tuple[TaskId, ...] = ()
    tool: str | None = None
    attempt: int = 0
    resumed: int = 0
    by: str | None = None
    seconds: float | None = None
    moves: tuple[Moved, ...] = ()
    usage: Usage = Usage()
    result: Any = None
    error: str | None = None
    parent: TaskId | None = None
    stands_for: TaskId | None = None
    notices: tuple[str, ...] = ()
    """What its models' turns said of themselves, each once: that a prompt was not read whole."""
    progress: str = ""
    again: str | None = None
    unsupported: tuple[str, ...] = ()
    """Numbers of its result that no result of a tool says."""


class JobView(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One job. `status` is `queued` until a coordinator has admitted it.

    `asks` are the open questions, oldest first. `account` is what counts against the `budget`:
    spent and reserved; `started` counts the planned tasks that do. `would_have` is what the tokens
    used so far had cost on the planner's model alone. `unsupported` are numbers of the result
    that no result of a tool says.
    """

    id: str
    tenant: str
    status: JobStatus | Literal["queued", "running"]
    goal: str = ""
    submitted_at: float | None = None
    seconds: float | None = None
    tasks: tuple[TaskView, ...] = ()
    asks: tuple[Asked, ...] = ()
    budget: Budget | None = None
    account: Accounted | None = None
    started: int = 0
    deadline: float | None = None
    usage: Usage = Usage()
    would_have: WouldHave | None = None
    result: Any = None
    error: str | None = None
    unsupported: tuple[str, ...] = ()


class _ByTask(msgspec.Struct, frozen=True):
    """What the facts say beside a task's own."""

    spent: Mapping[TaskId, Usage]
    moves: Mapping[TaskId, Iterable[Moved]]
    notices: Mapping[TaskId, Iterable[str]]


def view(state: JobState, job: str, tenant: str, now: float) -> JobView:
    """`now` is Unix seconds; it only serves for the times of what is still going on."""
    ended = state.ended
    until = ended.at if ended else now
    status = ended.status if ended else ("running" if state.job else "queued")
    by_task = _ByTask(_spent(state), _moves(state), _notices(state))
    tasks = tuple(_task(state, task, spec, until, by_task) for task, spec in _tasks(state))
    used = _total(tasks)
    return JobView(
        id=job,
        tenant=tenant,
        status=status,
        goal=state.job.goal if state.job else "",
        submitted_at=state.submitted_at,
        seconds=None if state.submitted_at is None else max(0.0, until - state.submitted_at),
        tasks=tasks,
        asks=() if ended else tuple(state.asks.open_in_order()),
        budget=state.job.budget if state.job else None,
        account=state.account,
        started=len(state.started),
        deadline=state.job.deadline if state.job else None,
        usage=used,
        would_have=_would_have(tasks, used),
        result=ended.result if ended else None,
        error=ended.error if ended else None,
        unsupported=ended.unsupported if ended else (),
    )


def unmended(tasks: Sequence[TaskView]) -> tuple[TaskId, ...]:
    """The planned tasks that have failed for good, and that nothing stands for."""
    mended = {task.stands_for for task in tasks if task.status == "succeeded"}
    failed = [
        task
        for task in tasks
        if task.status == "failed" and task.kind != "answer" and not task.id.startswith("plan-")
    ]
    ids = {task.id for task in failed}
    return tuple(task.id for task in failed if task.id not in mended and task.parent not in ids)


def _tasks(state: JobState) -> list[tuple[TaskId, TaskSpec]]:
    """What plans, then the planned tasks in plan order, each before its parts; then the answer.

    Last come parts of a task that is not known yet: a fact that was read early.
    """
    told: dict[TaskId, TaskSpec] = {}
    parts: dict[TaskId, list[TaskId]] = {}
    for part in sorted(state.owner, key=_place):
        parts.setdefault(state.owner[part], []).append(part)

    def tell(task: TaskId) -> None:
        spec = state.spec(task) or state.ready[task].task
        if told.setdefault(task, spec) is spec:
            for part in parts.get(task, ()):
                tell(part)

    planned = [one.task.id for one in state.in_plan_order() if one.task.id not in state.owner]
    others = sorted(state.ready.keys() - state.planned.keys() - state.parts.keys())
    plans = [task for task in others if state.ready[task].task.kind == "plan"]
    orphans = sorted(state.planned, key=lambda task: (state.owner.get(task, ""), *_place(task)))
    for task in (*plans, *planned, *others, *orphans):
        tell(task)
    return list(told.items())


def _place(part: TaskId) -> tuple[bool, float, TaskId]:
    """Among the parts of one task: what plans first, then by number."""
    name = part.rpartition("--")[2]
    return not is_planning(part), int(name) if name.isdecimal() else math.inf, part


def _task(
    state: JobState,
    task: TaskId,
    spec: TaskSpec,
    until: float,
    by_task: "_ByTask",
) -> TaskView:
    times = state.times.get(task, TaskTimes())
    claim, done = state.claims.get(task), state.done.get(task)
    started = times.claimed
    finished = times.done if times.done is not None else until
    outcome = done.outcome if done else None
    status = _status(state, task)
    given_back = state.given_back.get(task) if status in {"ready", "running"} else None
    return TaskView(
        id=task,
        kind=spec.kind,
        status=status,
        instruction=spec.instruction,
        needs=() if spec.kind == "answer" else spec.needs,
        tool=spec.tool,
        attempt=done.attempt if done else (claim.attempt if claim else 0),
        resumed=state.resumed.get(task, 0),
        by=done.by if done else (claim.by if claim else None),
        seconds=None if started is None else max(0.0, finished - started),
        moves=tuple(by_task.moves.get(task, ())),
        usage=done.usage if done else by_task.spent.get(task, Usage()),
        result=outcome.value if isinstance(outcome, Succeeded) else None,
        error=outcome.message if isinstance(outcome, Failed) else None,
        unsupported=outcome.unsupported if isinstance(outcome, Succeeded) else (),
        parent=state.owner.get(task),
        stands_for=spec.replaces,
        notices=tuple(by_task.notices.get(task, ())),
        again=given_back.note if given_back else None,
    )


def _status(state: JobState, task: TaskId) -> TaskStatus:
    done = state.done.get(task)
    if done is not None:
        return _settled(done.outcome)
    if state.is_gone(task):
        return "dropped"
    if state.ended is not None:
        return "cancelled"
    if task in state.asks.waiting:
        return "asking"
    claim = state.claims.get(task)
    if claim is not None and claim.until > 0:
        return "running"
    if task in state.groups:
        return "running"
    return "ready" if isinstance(state.ready.get(task), Ready) else "waiting"


def _settled(outcome: Outcome) -> TaskStatus:
    match outcome:
        case Succeeded():
            return "succeeded"
        case Failed(code=code):
            return "dropped" if code == DROPPED else "failed"


def _spent(state: JobState) -> dict[TaskId, Usage]:
    """What the steps of tasks without an outcome have used."""
    spent: dict[TaskId, Usage] = {}
    for (task, _), step in state.steps.items():
        if task not in state.done:
            spent[task] = spent.get(task, Usage()).plus(step_usage(step))
    return spent


def _moves(state: JobState) -> dict[TaskId, list[Moved]]:
    moves: dict[TaskId, list[Moved]] = {}
    for _, move in sorted(state.moves.items()):
        moves.setdefault(move.task, []).append(move)
    return moves


def _notices(state: JobState) -> dict[TaskId, dict[str, None]]:
    """Those of each task in the order of its turns, each once."""
    said: dict[TaskId, dict[str, None]] = {}
    for (task, _), step in sorted(state.steps.items()):
        if isinstance(step, ModelStep) and step.notices:
            said.setdefault(task, {}).update(dict.fromkeys(step.notices))
    return said


def _would_have(tasks: tuple[TaskView, ...], used: Usage) -> WouldHave | None:
    planning = next((task.usage for task in tasks if task.id == plan_task(1)), Usage())
    return would_have(planning, used)


def _total(tasks: tuple[TaskView, ...]) -> Usage:
    total = Usage()
    for task in tasks:
        total = total.plus(task.usage)
    return total
