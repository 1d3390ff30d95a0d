"""What a text may say about tasks that stand outside of it: need them, replace them, drop them.

a task under the id of one that has not succeeded   stands for that one, as `<id>--r<revision>`
the same task again                                 one that has not failed simply stays
an id that an earlier revision has replaced         means what stands in its place now
{"drop": ["4", "5"]}                                the plan goes on without them
{"give_up": "why"}                                  nothing can be mended: the job fails
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar, cast

import msgspec

from galerne.messages.ids import TaskId, below
from galerne.messages.plan import TaskSoFar, TaskSpec
from galerne.planner.objects import JsonObject

WORDS: Final = ("drop", "give_up")
LONGEST: Final = 500
"""Characters of a reason to give up."""
T = TypeVar("T")


class Revision:
    """Revision `number` (from 1: a first plan, which mends nothing) over the tasks so far."""

    def __init__(self, so_far: Sequence[TaskSoFar], number: int) -> None:
        self._so_far = {one.task.id: one for one in so_far}
        self._now = {old: one.task.id for one in so_far for old in one.stands_for}
        self._number = number
        self.dropped: dict[TaskId, None] = {}
        self.gave_up: str | None = None

    @property
    def is_decided(self) -> bool:
        """Whether it says something even without a task."""
        return bool(self.dropped) or self.gave_up is not None

    @property
    def tasks(self) -> Mapping[TaskId, TaskSpec]:
        return self._by_any_id({task: one.task for task, one in self._so_far.items()})

    @property
    def failed(self) -> tuple[TaskSpec, ...]:
        return tuple(one.task for one in self._so_far.values() if one.standing == "failed")

    @property
    def replaceable(self) -> frozenset[TaskId]:
        if self._number == 1:
            return frozenset()
        return frozenset(task for task, one in self._so_far.items() if one.standing != "succeeded")

    @property
    def done(self) -> frozenset[TaskId]:
        done = {task: None for task, one in self._so_far.items() if one.standing == "succeeded"}
        return frozenset(self._by_any_id(done))

    def without(self, read: Mapping[TaskId, TaskSpec]) -> tuple[TaskId, ...]:
        """What is dropped, and not replaced all the same."""
        mended = {task.replaces for task in read.values()}
        return tuple(task for task in self.dropped if task not in mended)

    def unusable(self) -> dict[TaskId, str]:
        """Why tasks that there are cannot be needed as they stand."""
        failed = {task.id: "which has failed: replace it first" for task in self.failed}
        dropped = dict.fromkeys(self.dropped, "which is dropped: do without it")
        return self._by_any_id({**failed, **dropped})

    def usable(self, read: Mapping[TaskId, TaskSpec]) -> dict[TaskId, TaskSpec]:
        """What may be needed: not what is dropped, and what has failed only once it is replaced."""
        mended = {task.replaces for task in read.values()}
        usable = {
            task: one.task
            for task, one in self._so_far.items()
            if task in mended or (one.standing != "failed" and task not in self.dropped)
        }
        return self._by_any_id(usable)

    def meant(self, found: JsonObject) -> JsonObject:
        """The object itself, or as a replacement of the unfinished task whose id it has."""
        replaces = found.value.get("replaces")
        if replaces is not None:
            old = self._current(replaces)
            same = old is None or old == replaces
            return found if same else JsonObject({**found.value, "replaces": old}, found.text)
        old = self._current(found.value.get("id"))
        if old is None or old not in self.replaceable:
            return found
        new = {**found.value, "id": below(old, f"r{self._number}"), "replaces": old}
        return JsonObject(new, found.text)

    def stays(self, task: TaskSpec) -> bool:
        """Whether it only repeats a task that is done, waits or runs."""
        known = self._so_far.get(task.replaces or task.id)
        if known is None:
            return False
        same = msgspec.structs.replace(task, id=known.task.id, replaces=known.task.replaces)
        return same == known.task

    def is_word(self, found: JsonObject) -> bool:
        return (
            self._number > 1
            and "id" not in found.value
            and any(word in found.value for word in WORDS)
        )

    def take_word(self, found: JsonObject, read: Mapping[TaskId, TaskSpec]) -> str | None:
        """Take it, after the tasks `read`; what is given is why it cannot be taken."""
        why, names = found.value.get("give_up"), found.value.get("drop", ())
        if why is not None:
            self.gave_up = " ".join(str(why).split())[:LONGEST] or "it gave no reason"
        listed = cast("Sequence[Any]", names if isinstance(names, list | tuple) else (names,))
        for name in listed:
            task = self._current(name)
            if task is None or task not in self.replaceable:
                there = ", ".join(sorted(self.replaceable)) or "none"
                return f"task {str(name)[:60]!r} cannot be dropped; those that can: {there}"
            needed = [one.id for one in read.values() if task in map(self._current, one.needs)]
            mended = any(one.replaces == task for one in read.values())
            if needed and not mended:
                return f"task {task!r} cannot be dropped: task {needed[0]!r} needs it"
            self.dropped[task] = None
        return None

    def _current(self, written: object) -> TaskId | None:
        """The task that an id in the text names now; None: what is written is no id."""
        if not isinstance(written, int | str):
            return None
        task = TaskId(str(written))
        return self._now.get(task, task)

    def _by_any_id(self, known: dict[TaskId, T]) -> dict[TaskId, T]:
        """Also by the ids that earlier revisions have replaced."""
        return {**{old: known[now] for old, now in self._now.items() if now in known}, **known}
