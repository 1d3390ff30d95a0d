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

    In a revision `replaceable` are the tasks that a new one may stand for, and `failed` those that
    are not to be tried again as they were. `depth` counts the plans that this one is nested in.
    """

    tools: Mapping[str, ToolSpec]
    before: Tasks
    taken: Tasks
    replaceable: frozenset[TaskId] = frozenset()
    failed: tuple[TaskSpec, ...] = ()
    depth: int = 0
