"""The two turns of planning: the plan, and one repair of what could not be used.

Whoever asks the model is passed in, so the same conversation serves a host service (over HTTP)
and a planner in the fleet (over its journal). It serves three occasions: a first plan, the plan of
a task that is itself one, and a revision of what has not finished.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec

from galerne.messages.chat import ChatReply, ChatRequest
from galerne.messages.facts import Turn
from galerne.messages.ids import TaskId, depth
from galerne.messages.plan import Rejected, TaskSoFar, TaskSpec
from galerne.messages.tools import ToolSpec
from galerne.planner.prompt import Revising, planner_request
from galerne.planner.prompts import Prompts
from galerne.planner.reader import PlanReader
from galerne.planner.refs import as_given, nested_under

Ask = Callable[[ChatRequest, Callable[[str], None]], Awaitable[ChatReply]]
"""Ask the model; the function gets the text piece by piece as it arrives."""
Naming = Callable[[TaskSpec], TaskSpec]


class PlanBrief(msgspec.Struct, frozen=True):
    """What is to be planned.

    `already` exists: an earlier attempt at this plan has written it. `history` is what was said
    before in the same conversation, oldest first. A revision (`revision` from 2) is to mend
    `failed`, where `missing` is what the answer lacked (None: it lacked nothing); `so_far` is the
    plan as it stands. A nested plan is `parent`'s, and `so_far` what that task needs.
    """

    goal: str
    tools: Sequence[ToolSpec]
    inputs: Mapping[str, Any] | None = None
    already: Sequence[TaskSpec] = ()
    history: Sequence[Turn] = ()
    so_far: Sequence[TaskSoFar] = ()
    failed: Sequence[TaskId] = ()
    missing: str | None = None
    revision: int = 1
    parent: TaskId | None = None
    prompts: Prompts = Prompts()


class Planning(msgspec.Struct, frozen=True):
    """What came of it, beside the tasks.

    `rejected` stayed unusable. A revision does without the tasks in `dropped`; with `gave_up` it
    says why nothing can be mended.
    """

    rejected: tuple[Rejected, ...] = ()
    dropped: tuple[TaskId, ...] = ()
    gave_up: str | None = None


async def converse(ask: Ask, brief: PlanBrief, on_task: Callable[[TaskSpec], None]) -> Planning:
    """Plan, giving each new task to `on_task` the moment its object closes.

    If something was rejected, the reasons go back to the model once. Raises what `ask` raises.
    """
    logged, written = _names(brief)
    if brief.parent is not None:
        brief = msgspec.structs.replace(brief, so_far=[_given(one) for one in brief.so_far])
    reader = PlanReader(
        brief.tools,
        [written(task) for task in brief.already],
        brief.so_far,
        brief.revision,
        0 if brief.parent is None else depth(brief.parent) + 1,
    )

    def give(task: TaskSpec) -> None:
        on_task(logged(task))

    rejected = await _turn(ask, _request(brief, reader.written), reader, give)
    if rejected:
        before = reader.read
        second = await _turn(ask, _request(brief, reader.tasks, rejected), reader, give)
        mended = reader.read - before
        rejected = [*(one for one in rejected if one.id not in mended), *second]
    return Planning(tuple(rejected), reader.dropped, reader.gave_up)


def _names(brief: PlanBrief) -> tuple[Naming, Naming]:
    """From the names in the model's text to those in the log, and back."""
    if brief.parent is None:
        return _same, _same
    return nested_under(brief.parent, {one.task.id for one in brief.so_far})


def _given(one: TaskSoFar) -> TaskSoFar:
    task = msgspec.structs.replace(one.task, id=as_given(one.task.id))
    return msgspec.structs.replace(one, task=task)


def _same(task: TaskSpec) -> TaskSpec:
    return task


def _request(
    brief: PlanBrief, already: Sequence[TaskSpec], rejected: Sequence[Rejected] = ()
) -> ChatRequest:
    revising = None
    if brief.revision > 1:
        revising = Revising(brief.so_far, brief.failed, brief.missing)
    given = () if brief.revision > 1 else brief.so_far
    return planner_request(
        brief.goal,
        brief.tools,
        brief.inputs,
        already,
        rejected,
        history=brief.history,
        given=given,
        revising=revising,
        prompts=brief.prompts,
    )


async def _turn(
    ask: Ask, request: ChatRequest, reader: PlanReader, on_task: Callable[[TaskSpec], None]
) -> list[Rejected]:
    rejected: list[Rejected] = []

    def sort(judged: Sequence[TaskSpec | Rejected]) -> None:
        for one in judged:
            match one:
                case TaskSpec():
                    on_task(one)
                case Rejected():
                    rejected.append(one)

    reply = await ask(request, lambda text: sort(reader.feed(text)))
    sort(reader.finish(reply.finish))
    return rejected
