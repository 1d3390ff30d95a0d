"""The plan as whoever revises it sees it: each task with its standing, and short results."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from galerne.core.shorten import shorten
from galerne.core.state import JobState
from galerne.messages.ids import TaskId
from galerne.messages.plan import Standing, TaskSoFar

MOST: Final = 400
"""Characters of one result or error: to plan with, one has to know what it is, not all of it."""
MOST_PARTS: Final = 20
"""Parts of a list that are named one by one because they failed: the others are like them."""


def so_far(state: JobState, limit: int) -> list[Any]:
    """As plain JSON values (`TaskSoFar`), together about `limit` characters of results."""
    tasks = _told(state)
    share = min(MOST, limit // max(1, len(tasks)))
    earlier: dict[TaskId, list[TaskId]] = {}
    for old in state.replaced:
        earlier.setdefault(state.stands_for(old), []).append(old)
    return [msgspec.to_builtins(_one(state, task, share, earlier.get(task, ()))) for task in tasks]


def _told(state: JobState) -> list[TaskId]:
    """What the plan still has, and the parts that have failed."""
    planned = [one.task.id for one in state.in_plan_order()]
    failed = sorted(part for part in state.parts if part in state.failed)
    return [task for task in (*planned, *failed[:MOST_PARTS]) if not state.is_gone(task)]


def _one(state: JobState, task: TaskId, share: int, earlier: Sequence[TaskId]) -> TaskSoFar:
    spec = state.spec(task)
    assert spec is not None
    failure = state.failure(task)
    succeeded = state.succeeded(task)
    return TaskSoFar(
        task=spec,
        standing=_standing(state, task),
        result=shorten(state.value(task), share) if succeeded else None,
        error=shorten(failure.message, share) if failure else None,
        stands_for=tuple(earlier),
    )


def _standing(state: JobState, task: TaskId) -> Standing:
    if task in state.done:
        return "succeeded" if state.succeeded(task) else "failed"
    return "running" if task in state.under_way or task in state.groups else "waiting"
