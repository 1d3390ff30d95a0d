"""One object that the planner wrote → a task, or a reason why not that the planner can act on.

The order of the plan is the order of the graph: a task may only need tasks that stand before it,
so a cycle cannot be written. Where the meaning is clear, other words are taken:

    as written                                      taken as
    `depends_on`, `dependencies`                    `needs`
    `task`, `description`, `question`               `instruction`
    `arguments`                                     `args`
    `model_class`, `for_each`, `map`                `model`, `foreach`
    `"{{1.files}}"` as `foreach`                    `{"$ref": "1.files"}`
    a number as id or need                          the same as text
    one need or tool name without a list            a list of one
    no kind                                         `tool` where a tool is named, else `agent`
    args as a JSON text                             the object in it
    `{"$ref": "2"}` or `{{2}}` without the need     the need is added
    null                                            absent
"""

from collections.abc import Mapping
from typing import Any, Final, cast

import msgspec

from galerne.core.groups import ITEM, MAX_DEPTH, MAX_ITEMS
from galerne.core.refs import REF, template
from galerne.errors import InvalidInputError
from galerne.messages.ids import TaskId, below, is_id, is_reserved, is_scoped
from galerne.messages.plan import Rejected, TaskSpec
from galerne.messages.tools import ToolSpec
from galerne.planner.ground import Ground, RefusedError, Tasks
from galerne.planner.kinds import Fields, listed, shown, task_of
from galerne.planner.producers import list_fault, reference_fault
from galerne.planner.refs import referenced_tasks

MAX_TASKS: Final = 200
MAX_TIMEOUT: Final = 366 * 86_400.0
"""Seconds: a year."""
MAX_EXCERPT: Final = 1_000
"""Characters of a rejected object that are kept."""
ALIASES: Final = {
    "depends_on": "needs",
    "dependencies": "needs",
    "task": "instruction",
    "description": "instruction",
    "question": "instruction",
    "arguments": "args",
    "model_class": "model",
    "for_each": "foreach",
    "map": "foreach",
}


def check_task(
    value: Mapping[str, Any],
    text: str,
    tools: Mapping[str, ToolSpec],
    before: Tasks,
    taken: Tasks | None = None,
) -> TaskSpec | Rejected:
    """Check one object.

    `before` are the tasks that stand before it: it may need those. `taken` are all ids in use
    (None: the same). An object that equals the task which has its id is that task.
    """
    return judge_task(value, text, Ground(tools, before, before if taken is None else taken))


def judge_task(value: Mapping[str, Any], text: str, ground: Ground) -> TaskSpec | Rejected:
    """As `check_task`, on any ground."""
    task_id: TaskId | None = None
    try:
        fields = _canonical(value)
        task_id = _id(fields.get("id"), "id")
        _check_id(task_id, fields, ground.revision)
        task = _with_limits(task_of(task_id, fields, ground), fields)
        task = _with_list(task, fields, ground)
        task = _with_needs(task, fields, ground)
        _check_references(task, ground)
        task = _in_place_of(task, fields, ground)
        _check_free(task, ground)
    except RefusedError as refusal:
        return Rejected(str(refusal), excerpt(text), task_id)
    return task


def excerpt(text: str) -> str:
    """What is kept of a rejected object's text."""
    return text if len(text) <= MAX_EXCERPT else f"{text[:MAX_EXCERPT]}…"


def _canonical(value: Mapping[str, Any]) -> dict[str, Any]:
    fields = {name: field for name, field in value.items() if field is not None}
    for written, meant in ALIASES.items():
        if written in fields:
            fields.setdefault(meant, fields[written])
    return fields


def _id(value: Any, what: str) -> TaskId:
    if value is None:
        raise RefusedError('the task has no id: give it one, like "1"')
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not is_id(value):
        raise RefusedError(
            f"{what} {shown(value)} is not usable: 1 to 64 letters, digits, '-' or '_'"
        )
    return TaskId(value)


def _check_id(task_id: TaskId, fields: Fields, revision: int) -> None:
    """`--` is for what belongs to a task: in a revision, for what stands in its place."""
    scoped = is_scoped(task_id) and task_id != below(
        TaskId(str(fields.get("replaces"))), f"r{revision}"
    )
    if is_reserved(task_id) or task_id == ITEM or scoped:
        raise RefusedError(f"id {task_id!r} is reserved: use a number")


def _with_limits(task: TaskSpec, fields: Fields) -> TaskSpec:
    """The task with its time, and whether a person is asked before it starts."""
    timeout, approve = fields.get("timeout"), fields.get("approve", False)
    if not isinstance(approve, bool):
        raise RefusedError("approve is true or false")
    if approve and task.kind == "ask":
        raise RefusedError("a task of kind 'ask' waits for a person anyway: leave approve out")
    if timeout is not None and not _is_time(timeout):
        raise RefusedError("timeout must be a number of seconds above 0")
    seconds = None if timeout is None else float(timeout)
    return msgspec.structs.replace(task, timeout=seconds, approve=approve)


def _is_time(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and 0 < value <= MAX_TIMEOUT


def _with_list(task: TaskSpec, fields: Fields, ground: Ground) -> TaskSpec:
    """The task with the list that it is done for each element of."""
    is_group = "foreach" in fields or task.kind == "plan"
    if is_group and ground.depth >= MAX_DEPTH:
        raise RefusedError(f"it is nested too deep (at most {MAX_DEPTH}): use 'agent' or 'tool'")
    if "foreach" not in fields:
        if ITEM in _referred(task.args):
            raise RefusedError("'item' is known only in a task with 'foreach': give it one")
        return task
    if task.kind == "ask":
        raise RefusedError("a question to a person takes no 'foreach'")
    foreach = _list(fields["foreach"])
    if ITEM in _referred(foreach):
        raise RefusedError("foreach cannot be made of 'item', which is one of its own elements")
    return msgspec.structs.replace(task, foreach=foreach)


def _list(value: Any) -> Any:
    if isinstance(value, str):
        reference = template(value)
        value = {REF: str(reference)} if reference is not None else value
    if isinstance(value, dict) and REF in value:
        return cast("object", value)
    if not isinstance(value, list):
        raise RefusedError('foreach is a list, or {"$ref": "1.files"} for the list of a result')
    items: list[Any] = value  # pyright: ignore[reportUnknownVariableType] - any elements
    if len(items) > MAX_ITEMS:
        raise RefusedError(f"foreach has {len(items)} elements, at most {MAX_ITEMS} are allowed")
    return items


def _referred(value: Any) -> tuple[str, ...]:
    try:
        return referenced_tasks(value)
    except InvalidInputError:  # told where the needs are looked at
        return ()


def _with_needs(task: TaskSpec, fields: Fields, ground: Ground) -> TaskSpec:
    """The task with its written needs, then those that its references imply.

    In an instruction `{{x}}` may be plain text, so only ids of tasks count there.
    """
    try:
        referred = (*referenced_tasks(task.foreach), *referenced_tasks(task.args))
    except InvalidInputError as error:
        raise RefusedError(f"args: {error}") from error
    referred = tuple(one for one in referred if one != ITEM)
    mentioned = (one for one in referenced_tasks(task.instruction) if one in ground.before)
    written = (_id(one, "need") for one in listed(fields.get("needs", ()), "needs"))
    needs = tuple(dict.fromkeys((*written, *referred, *mentioned)))
    for need in needs:
        if need == task.id:
            raise RefusedError("the task needs itself")
        if need not in ground.before:
            why = ground.unusable.get(need, "which does not stand before it: write that one first")
            raise RefusedError(f"it needs task {need!r}, {why}")
    return msgspec.structs.replace(task, needs=needs)


def _check_references(task: TaskSpec, ground: Ground) -> None:
    if task.foreach is not None and (
        fault := list_fault(task.foreach, ground.before, ground.tools)
    ):
        raise RefusedError(fault)
    if task.tool is None:
        return
    fault = reference_fault(
        task.args or {},
        ground.tools[task.tool].parameters,
        ground.before,
        ground.tools,
        task.foreach,
    )
    if fault:
        raise RefusedError(f"{task.tool}: {fault}")


def _in_place_of(task: TaskSpec, fields: Fields, ground: Ground) -> TaskSpec:
    """The task with the one that it stands for, and that is not the same again."""
    if "replaces" in fields:
        old = _id(fields["replaces"], "replaces")
        if old not in ground.replaceable:
            raise RefusedError(f"task {old!r} cannot be replaced: name one that has not succeeded")
        task = msgspec.structs.replace(task, replaces=old)
        other = ground.standing_for(old)
        if other is not None and other.id != task.id:
            raise RefusedError(f"task {old!r} is replaced by task {other.id!r} already")
        if (by := ground.circle(task)) is not None:
            raise RefusedError(f"it would wait for itself, because of its need of task {by!r}")
    for failed in ground.failed:
        if _is_alike(task, failed):
            raise RefusedError("this very task has failed: do it another way")
    return task


def _is_alike(one: TaskSpec, other: TaskSpec) -> bool:
    return msgspec.structs.replace(one, id=other.id, replaces=other.replaces) == other


def _check_free(task: TaskSpec, ground: Ground) -> None:
    if task.id in ground.taken:
        if ground.taken[task.id] == task:
            return
        if task.id in ground.done:
            raise RefusedError(f"task {task.id!r} is done, its result stands: use a new id")
        raise RefusedError(f"id {task.id!r} names another task already: use a new id")
    if len({task.id for task in ground.before.values()}) >= MAX_TASKS:
        raise RefusedError(f"a plan has at most {MAX_TASKS} tasks")
