"""A whole plan as data, and what its graph says about how it can run."""

from collections.abc import Sequence

import msgspec

from galerne.messages.ids import TaskId
from galerne.messages.plan import Rejected, TaskSpec, Usage


class Plan(msgspec.Struct, frozen=True, omit_defaults=True):
    """Tasks in the order in which they were written: every need stands before its task.

    `rejected` are those that stayed unusable after one repair; `usage` is what planning took.
    """

    tasks: tuple[TaskSpec, ...]
    rejected: tuple[Rejected, ...] = ()
    usage: Usage = Usage()

    def levels(self) -> tuple[tuple[TaskId, ...], ...]:
        """The waves: each task in the first one that comes after all of its needs."""
        waves: list[list[TaskId]] = []
        for task, depth in _depths(self.tasks).items():
            if depth == len(waves):
                waves.append([])
            waves[depth].append(task)
        return tuple(map(tuple, waves))

    @property
    def width(self) -> int:
        """How many tasks the widest wave has."""
        return max(map(len, self.levels()), default=0)

    def critical_path(self) -> tuple[TaskId, ...]:
        """The longest chain of needs, first task first; of equals the one written first."""
        depths = _depths(self.tasks)
        needs = {task.id: task.needs for task in self.tasks}
        path: list[TaskId] = []
        candidates: Sequence[TaskId] = tuple(depths)
        while candidates:
            path.append(max(candidates, key=lambda task: depths[task]))
            candidates = [need for need in needs[path[-1]] if need in depths]
        return tuple(reversed(path))


def _depths(tasks: Sequence[TaskSpec]) -> dict[TaskId, int]:
    """Each task's distance from the start; needs outside the plan count as done."""
    depths: dict[TaskId, int] = {}
    for task in tasks:
        depths[task.id] = 1 + max((depths.get(need, -1) for need in task.needs), default=-1)
    return depths
