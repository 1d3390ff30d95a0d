"""What a task of a plan stands on: the tools there are, and the tasks that it may need."""

from collections.abc import Mapping

import msgspec

from galerne.messages.ids import TaskId
from galerne.messages.plan import TaskSpec
from galerne.messages.tools import ToolSpec

Tasks = Mapping[TaskId, TaskSpec]


class RefusedError(Exception):
    """Why a task cannot be used, as it will stand in `Rejected`."""


class Ground(msgspec.Struct, frozen=True):
    """`before` may be needed, and `taken` are all ids in use.

    In a revision (`revision` from 2) `replaceable` are the tasks that a new one may stand for,
    `failed` those that are not to be tried again as they were, `done` those whose results stand,
    and `unusable` says why a task that there is cannot be needed. `depth` counts the plans that
    this one is nested in.
    """

    tools: Mapping[str, ToolSpec]
    before: Tasks
    taken: Tasks
    replaceable: frozenset[TaskId] = frozenset()
    failed: tuple[TaskSpec, ...] = ()
    done: frozenset[TaskId] = frozenset()
    unusable: Mapping[TaskId, str] = {}
    revision: int = 1
    depth: int = 0

    def standing_for(self, task: TaskId) -> TaskSpec | None:
        """What has been written in the place of a task; None: nothing."""
        return next((one for one in self.taken.values() if one.replaces == task), None)

    def circle(self, task: TaskSpec) -> TaskId | None:
        """The task by whose needs one that replaces another would wait for itself."""
        waiting, seen = [(need, need) for need in task.needs], set[TaskId]()
        while waiting:
            one, by = waiting.pop()
            known = self.taken.get(one)
            one = known.id if known is not None else one  # it may have had another id before
            if one in (task.replaces, task.id):
                return by
            spec = self.standing_for(one) or known
            if spec is not None and one not in seen:
                seen.add(one)
                waiting.extend((need, one) for need in spec.needs)
        return None
