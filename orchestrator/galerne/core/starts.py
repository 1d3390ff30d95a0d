"""How a task begins: in a lane with all that its worker needs, or with a question to a person."""

from typing import Any

import msgspec

from galerne.core.asks import arguments_hash
from galerne.core.refs import resolve
from galerne.core.rules import Rules
from galerne.core.shorten import shorten
from galerne.core.state import JobState
from galerne.errors import InvalidInputError
from galerne.messages.blobs import is_blob
from galerne.messages.facts import Asked, Done, JobSpec, Lane, Ready
from galerne.messages.ids import ANSWER_TASK, TaskId, plan_task
from galerne.messages.plan import Failed, Outcome, Succeeded, TaskSpec, Usage

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
    share = INPUT_LIMIT // max(1, len(job.inputs))
    inputs = {name: _for_planner(value, share) for name, value in job.inputs.items()}
    return _ready(job, TaskSpec(id=plan_task(1), kind="plan"), inputs, now, rules)


def _for_planner(value: Any, share: int) -> Any:
    """Content keeps the value that stands for it, which the planner writes into tool calls."""
    return value if is_blob(value) else shorten(value, share)


def answer(state: JobState, job: JobSpec, now: float, rules: Rules) -> Ready:
    """The job's closing synthesis."""
    needs = tuple(planned.task.id for planned in state.in_plan_order())
    spec = TaskSpec(id=ANSWER_TASK, kind="answer", needs=needs)
    return _ready(job, spec, _answer_inputs(state), now, rules)


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
    values: dict[str, Any] = {need: state.value(need) for need in spec.needs}
    if spec.kind == "tool" or not values:
        return values
    share = INPUT_LIMIT // len(values)
    return {need: shorten(value, share) for need, value in values.items()}


def _answer_inputs(state: JobState) -> dict[str, Any]:
    """Every task with its result; of thousands, as many as a model could read."""
    tasks = [planned.task for planned in state.in_plan_order()]
    shown = tasks[: INPUT_LIMIT // (2 * LEAST_SHARE)]
    share = INPUT_LIMIT // max(1, len(shown))
    inputs: dict[str, Any] = {
        task.id: {
            "instruction": shorten(_what(task), min(400, share)),
            "value": shorten(state.value(task.id), share),
        }
        for task in shown
    }
    if len(shown) < len(tasks):
        left_out = f"{len(tasks) - len(shown)} more tasks, which there is no room to show"
        inputs["more"] = {"instruction": "(of the others)", "value": left_out}
    return inputs


def _what(task: TaskSpec) -> str:
    if task.instruction:
        return task.instruction
    return f"{task.tool} {msgspec.json.encode(task.args or {}).decode()}"
