"""Tasks that are done through others: once for each element of a list, or by a nested plan.

    5, for each of ["a", "b"]  ─▶ 5--0, 5--1             ─▶ 5 is the list of their values
    4, of kind plan            ─▶ 4--plan ─▶ 4--1, 4--2 … ─▶ 4 is the value of what nobody needs

No worker gets such a task itself. Its parts follow from it and from the results of its needs, so
every coordinator has the same ones without writing anything.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from galerne.core.grounding import MOST_TOLD
from galerne.core.one_line import one_line
from galerne.core.refs import parsed, resolve
from galerne.core.state import JobState
from galerne.errors import InvalidInputError
from galerne.messages.blobs import is_blob
from galerne.messages.ids import TaskId, below, depth, is_id
from galerne.messages.plan import Failed, Outcome, Succeeded, TaskSpec

MAX_ITEMS: Final = 1_000
"""Elements of one list: each is a task of its own."""
MAX_DEPTH: Final = 3
"""How deep lists and nested plans may stand in one another."""
ITEM: Final = "item"
"""What the element is called in references."""
NOTHING_DONE: Final = "nothing_done"
"""The code of a group that has no value, because none of its parts has one."""
SHOWN: Final = 60
"""Characters of a value in an error's sentence."""


class Parts(msgspec.Struct, frozen=True):
    """The tasks that a group begins with; `items` are the elements, None for a nested plan."""

    specs: tuple[TaskSpec, ...]
    items: list[Any] | None


def is_group(spec: TaskSpec) -> bool:
    return spec.foreach is not None or (spec.kind == "plan" and not is_planning(spec.id))


def is_planning(task: TaskId) -> bool:
    """Whether the task writes a plan (`plan-1`, `4--plan`)."""
    return task.startswith("plan-") or task.endswith(below(TaskId(""), "plan"))


def parts_of(spec: TaskSpec, results: Mapping[str, Any]) -> Parts:
    """`results`: the values of its needs. Raises InvalidInputError where there is no such list."""
    if depth(spec.id) >= MAX_DEPTH:
        raise InvalidInputError(
            f"lists and nested plans stand at most {MAX_DEPTH} deep in one another"
        )
    if spec.foreach is None:
        plain = TaskSpec(
            id=_part(spec, "plan"),
            kind="plan",
            instruction=spec.instruction,
            needs=spec.needs,
            tools=spec.tools,
            timeout=spec.timeout,
        )
        return Parts((plain,), None)
    items = _elements(spec.foreach, results)
    one = msgspec.structs.replace(spec, foreach=None, replaces=None, approve=False)
    specs = (msgspec.structs.replace(one, id=_part(spec, n)) for n in range(len(items)))
    return Parts(tuple(specs), items)


def _part(spec: TaskSpec, name: str | int) -> TaskId:
    part = below(spec.id, name)
    if not is_id(part):
        raise InvalidInputError(f"its id is too long for parts of it: {spec.id}")
    return part


def _elements(foreach: Any, results: Mapping[str, Any]) -> list[Any]:
    value = parsed(resolve(foreach, results))
    if is_blob(value):
        raise InvalidInputError("the list is too large for a task for each element of it")
    if not isinstance(value, list):
        raise InvalidInputError(
            f"there is no list to do it for: {one_line(msgspec.json.encode(value).decode(), SHOWN)}"
        )
    items: list[Any] = value  # pyright: ignore[reportUnknownVariableType] - elements may be anything
    if len(items) > MAX_ITEMS:
        raise InvalidInputError(f"the list has {len(items)} elements, at most {MAX_ITEMS} may be")
    return items


def outcome(state: JobState, task: TaskId) -> Outcome:
    """Of a group of which nothing is left to do."""
    group, spec = state.groups[task], state.spec(task)
    if group.fault is not None or spec is None:
        return group.fault or Failed("invalid_input", "nobody knows what it was")
    if group.items is not None:
        stands = [state.stands_for(below(task, n)) for n in range(len(group.items))]
        value: Any = [state.value(one) for one in stands]
    else:
        stands = [state.stands_for(one) for _, one in sorted(state.nested.get(task, {}).items())]
        value = _of_the_last(state, task, stands)
    if stands and not any(state.succeeded(one) for one in stands):
        return Failed(NOTHING_DONE, "nothing that it consists of could be done")
    numbers = {number: None for one in stands for number in state.unsupported(one)}
    return Succeeded(value, tuple(numbers)[:MOST_TOLD])


def _of_the_last(state: JobState, task: TaskId, nested: Sequence[TaskId]) -> Any:
    """The value of the one that no other of them needs; of several, each under its own id."""
    specs = [spec for one in nested if (spec := state.spec(one)) is not None]
    needed = {state.stands_for(need) for spec in specs for need in spec.needs}
    last = [one for one in nested if one not in needed and state.succeeded(one)]
    if len(last) == 1:
        return state.value(last[0])
    return {one.removeprefix(below(task, "")): state.value(one) for one in last}
