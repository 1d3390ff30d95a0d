"""How a task begins: in a lane with all that its worker needs, or with a question to a person."""

from collections.abc import Sequence
from typing import Any

import msgspec

from galerne.core.asks import arguments_hash
from galerne.core.groups import ITEM
from galerne.core.refs import resolve
from galerne.core.revisions import Revise, answers_asked_for_more, may_revise
from galerne.core.rules import Rules
from galerne.core.shorten import shorten
from galerne.core.so_far import so_far
from galerne.core.state import JobState
from galerne.errors import InvalidInputError
from galerne.messages.blobs import is_blob
from galerne.messages.facts import Asked, Done, JobSpec, Lane, Ready
from galerne.messages.ids import TaskId, answer_task, below, is_reserved, plan_task
from galerne.messages.plan import DROPPED, Failed, Outcome, Succeeded, TaskSpec, Usage

INPUT_LIMIT = 96_000
"""Characters of earlier results that a task for a model may carry: they fill a 32k context."""
LEAST_SHARE = 40
"""Characters of one result below which it says nothing any more: fewer results are carried then."""

_LANES: dict[str, Lane] = {
    "plan": "planner",
    "answer": "planner",
    "agent": "executor",
    "tool": "executor",
}


def first_plan(job: JobSpec, now: float, rules: Rules) -> Ready:
    ready = _ready(
        job, TaskSpec(id=plan_task(1), kind="plan"), _job_inputs(job, INPUT_LIMIT), now, rules
    )
    return msgspec.structs.replace(ready, history=job.history, review=job.review)


def next_plan(state: JobState, job: JobSpec, revise: Revise, now: float, rules: Rules) -> Ready:
    """A revision: its inputs are the plan as it stands, and those of the job."""
    spec = TaskSpec(id=plan_task(revise.revision), kind="plan")
    inputs = {"plan": so_far(state, INPUT_LIMIT // 2), "inputs": _job_inputs(job, INPUT_LIMIT // 2)}
    ready = _ready(job, spec, inputs, now, rules)
    lacking = state.failure(answer_task(max(1, answers_asked_for_more(state))))
    return msgspec.structs.replace(
        ready,
        history=job.history,
        failed=revise.failed,
        missing=lacking.message if lacking and _is_answer(revise.failed) else None,
    )


def _is_answer(failed: Sequence[TaskId]) -> bool:
    """Whether it was the answer that asked for the revision."""
    return any(is_reserved(task) for task in failed)


def _job_inputs(job: JobSpec, limit: int) -> dict[str, Any]:
    share = limit // max(1, len(job.inputs))
    return {name: _for_planner(value, share) for name, value in job.inputs.items()}


def _for_planner(value: Any, share: int) -> Any:
    """Content keeps the value that stands for it, which the planner writes into tool calls."""
    return value if is_blob(value) else shorten(value, share)


def answer(state: JobState, job: JobSpec, now: float, rules: Rules) -> Ready:
    """The job's closing synthesis, or its next try after one that asked for more."""
    tasks = _answered_from(state)
    spec = TaskSpec(
        id=answer_task(answers_asked_for_more(state) + 1),
        kind="answer",
        needs=tuple(task.id for task in tasks),
        output=job.output,
    )
    ready = _ready(job, spec, _answer_inputs(state, tasks), now, rules)
    return msgspec.structs.replace(ready, history=job.history, more=may_revise(state, job))


def begin(
    state: JobState, job: JobSpec, spec: TaskSpec, now: float, rules: Rules
) -> Ready | Asked | Done:
    """How a task that misses nothing begins: in a lane, or with a question to a person."""
    if spec.kind != "ask" and not spec.approve:
        return _ready(job, spec, _inputs(state, spec), now, rules)
    decided = state.asks.decided.get((spec.id, 0, 1))
    if decided is None:
        return _asked(state, spec, now, rules)
    match decided.verdict:
        case "answered" if spec.kind == "ask":
            return settled(spec.id, Succeeded(decided.value), now)
        case "approved" if spec.kind != "ask":
            return _ready(job, spec, _inputs(state, spec), now, rules)
        case "expired":
            return settled(spec.id, Failed("expired", "nobody answered in time"), now)
        case _:
            why = f": {decided.why}" if decided.why else ""
            return settled(
                spec.id, Failed("denied", f"{decided.by or 'a person'} said no{why}"), now
            )


def _asked(state: JobState, spec: TaskSpec, now: float, rules: Rules) -> Asked:
    until = now + (rules.ask_timeout if spec.timeout is None else spec.timeout)
    if spec.kind == "ask":
        question = spec.instruction or "What is your answer?"
        return Asked(
            task=spec.id,
            n=0,
            what="question",
            question=question,
            output=spec.output,
            until=until,
            at=now,
        )
    arguments = _proposed(state, spec)
    return Asked(
        task=spec.id,
        n=0,
        what="approval",
        question=f"May this task start? {_what(spec)}",
        tool=spec.tool,
        arguments=arguments,
        hash=arguments_hash(spec.tool or spec.kind, arguments),
        until=until,
        at=now,
    )


def _proposed(state: JobState, spec: TaskSpec) -> dict[str, Any]:
    """What a person gives leave for: the arguments as the tool will get them, or the words."""
    if spec.kind != "tool":
        return {"instruction": spec.instruction}
    try:
        resolved: dict[str, Any] = resolve(spec.args or {}, _inputs(state, spec))
    except InvalidInputError:  # its worker will say so
        return dict(spec.args or {})
    return resolved


def settled(task: TaskId, outcome: Outcome, now: float) -> Done:
    """An outcome that no worker writes. Its attempts' usage stands in their steps."""
    return Done(task=task, outcome=outcome, usage=Usage(), by="coordinator", attempt=0, at=now)


def _ready(job: JobSpec, task: TaskSpec, inputs: dict[str, Any], now: float, rules: Rules) -> Ready:
    return Ready(
        lane=_LANES.get(task.kind, "executor"),
        priority=job.priority,
        task=task,
        goal=job.goal,
        job_tools=job.tools,
        inputs=inputs,
        max_attempts=rules.max_attempts,
        budget=job.budget,
        deadline=None if task.timeout is None else now + task.timeout,
        job_approve=job.approve,
    )


def _inputs(state: JobState, spec: TaskSpec) -> dict[str, Any]:
    """The results of the needs; whole for a tool, fitted to a model's context otherwise."""
    values: dict[str, Any] = {need: state.value(state.stands_for(need)) for need in spec.needs}
    values |= _item(state, spec.id)
    if spec.kind == "tool" or not values:
        return values
    share = INPUT_LIMIT // len(values)
    return {need: shorten(value, share) for need, value in values.items()}


def _item(state: JobState, task: TaskId) -> dict[str, Any]:
    """The element that a part of a list is for; what stands within one has the same."""
    owner = state.owner.get(task)
    if owner is None:
        return {}
    group = state.groups.get(owner)
    if group is None or group.items is None:
        return _item(state, owner)
    number = _first_of(state, task).removeprefix(below(owner, ""))
    is_element = number.isdecimal() and int(number) < len(group.items)
    return {ITEM: group.items[int(number)]} if is_element else {}


def _first_of(state: JobState, task: TaskId) -> TaskId:
    """What it stands for, back to what the plan had first."""
    planned = state.planned.get(task)
    while planned is not None and planned.task.replaces is not None:
        task = planned.task.replaces
        planned = state.planned.get(task)
    return task


def _answered_from(state: JobState) -> list[TaskSpec]:
    """The plan's own tasks that have an outcome to tell of; the parts of others tell nothing."""
    own = [one.task for one in state.in_plan_order() if one.task.id not in state.owner]
    return [task for task in own if state.succeeded(task.id) or _is_unmended(state, task.id)]


def _is_unmended(state: JobState, task: TaskId) -> bool:
    failure = state.failure(task)
    return failure is not None and failure.code != DROPPED and task not in state.replaced


def _answer_inputs(state: JobState, tasks: Sequence[TaskSpec]) -> dict[str, Any]:
    """Each task with its result; of thousands, as many as a model could read."""
    shown = tasks[: INPUT_LIMIT // (2 * LEAST_SHARE)]
    share = INPUT_LIMIT // max(1, len(shown))
    inputs: dict[str, Any] = {
        task.id: {
            "instruction": shorten(_what(task), min(400, share)),
            "value": shorten(_result(state, task.id), share),
            **_doubtful(state, task.id),
        }
        for task in shown
    }
    if len(shown) < len(tasks):
        left_out = f"{len(tasks) - len(shown)} more tasks, which there is no room to show"
        inputs["more"] = {"instruction": "(of the others)", "value": left_out}
    return inputs


def _result(state: JobState, task: TaskId) -> Any:
    failure = state.failure(task)
    return f"(failed: {failure.message})" if failure else state.value(task)


def _doubtful(state: JobState, task: TaskId) -> dict[str, Any]:
    """The numbers of its value that are its model's own word, where there are any."""
    numbers = state.unsupported(task)
    return {"unsupported": numbers} if numbers else {}


def _what(task: TaskSpec) -> str:
    if task.instruction:
        return task.instruction
    return f"{task.tool} {msgspec.json.encode(task.args or {}).decode()}"
