"""A planner model's text, JSON or numbered calls → tasks and rejections, while it speaks.

A reader lives through one plan: any number of turns, each fed in pieces and then finished. It
knows the tasks that an earlier attempt has already written, and gives none of them again.

On a takeover the text is one of two things, and the reader cannot be told which: the very text
that those tasks came from (its turn was journaled), or a new one that goes on after them. The
first has to be read exactly as it was the first time, or a task that was refused for needing a
later one would now be accepted. It is known by its beginning: the first task in it is the first
one written. Then a task may need only what stands before it in this text; otherwise everything
already written stands before it. An answer that opens by needing a later task looks like the
second kind; its first task is then planned instead of refused, which harms nobody.
"""

import re
from collections.abc import Sequence
from typing import Final

from galerne.messages.ids import TaskId
from galerne.messages.plan import Rejected, TaskSoFar, TaskSpec
from galerne.messages.tools import ToolSpec
from galerne.planner.arguments import prepare
from galerne.planner.check import excerpt, judge_task
from galerne.planner.ground import Ground, Tasks
from galerne.planner.numbered import PlanScanner
from galerne.planner.objects import BrokenObject, Found, JsonObject
from galerne.planner.revising import Revision

NO_TASK: Final = "your answer holds no task: write one JSON object a line"
NO_CHANGE: Final = "your answer changes nothing: what failed has to be replaced or dropped"
CUT_SHORT: Final = frozenset({"length", "model_length"})
"""The finish reasons of an answer that reached its limit."""

_ID = re.compile(r'"id"\s*:\s*"?([A-Za-z0-9_-]{1,64})')


class PlanReader:
    """Feed it text, and `finish` each turn; both give what has become known, in order."""

    def __init__(
        self,
        tools: Sequence[ToolSpec],
        already: Sequence[TaskSpec] = (),
        so_far: Sequence[TaskSoFar] = (),
        revision: int = 1,
        depth: int = 0,
    ) -> None:
        """`so_far` are tasks outside of this text, which it may need or (from revision 2) mend.

        `depth` counts the plans that this one is nested in.
        """
        self._tools = {tool.name: tool for tool in tools}
        prepare(tools)
        self._written = list(already)
        self._position = {task.id: place for place, task in enumerate(already)}
        self._read: dict[TaskId, TaskSpec] = {}
        self._from_the_start: bool | None = None if already else True
        self._scanner = PlanScanner(self._tools)
        self._seen_in_turn = 0
        self._rejected = False
        """Whether something of this turn is to be written again anyway."""
        self._revision = Revision(so_far, revision)
        self._number = revision
        self._depth = depth

    @property
    def written(self) -> tuple[TaskSpec, ...]:
        """The tasks that were there before."""
        return tuple(self._written)

    @property
    def tasks(self) -> tuple[TaskSpec, ...]:
        """Every task of this plan by now: those already written, then the new ones."""
        new = (task for task in self._read.values() if task.id not in self._position)
        return (*self._written, *new)

    @property
    def read(self) -> frozenset[TaskId]:
        """The ids of the usable tasks that stood in the text so far, new or not."""
        return frozenset(self._read)

    @property
    def dropped(self) -> tuple[TaskId, ...]:
        """What the text says to do without."""
        return self._revision.without(self._read)

    @property
    def gave_up(self) -> str | None:
        """Why the text says that nothing can be mended."""
        return self._revision.gave_up

    def feed(self, text: str) -> list[TaskSpec | Rejected]:
        return self._judge(self._scanner.feed(text))

    def finish(self, reason: str = "stop") -> list[TaskSpec | Rejected]:
        """End a turn; `reason` is the reply's finish reason. The next text is another turn."""
        last = self._judge(self._scanner.finish())
        empty, self._seen_in_turn = not self._seen_in_turn, 0
        if reason in CUT_SHORT:
            last.append(
                Rejected("your answer reached its limit: go on with the tasks still missing", "")
            )
        elif not (self.tasks or self._revision.is_decided or self._rejected):
            last.append(Rejected(NO_TASK if empty else NO_CHANGE, ""))
        self._rejected = False
        return last

    def _judge(self, found: Sequence[Found]) -> list[TaskSpec | Rejected]:
        self._seen_in_turn += len(found)
        judged = [one for one in map(self._judge_one, found) if one is not None]
        self._rejected = self._rejected or any(isinstance(one, Rejected) for one in judged)
        return judged

    def _judge_one(self, found: Found) -> TaskSpec | Rejected | None:
        match found:
            case BrokenObject(text=text, reason=reason):
                named = _ID.search(text)
                return Rejected(reason, excerpt(text), found.id or (named[1] if named else None))
            case JsonObject() if self._revision.is_word(found):
                fault = self._revision.take_word(found, self._read)
                return None if fault is None else Rejected(fault, excerpt(found.text))
            case JsonObject():
                meant = self._revision.meant(found)
                task = self._again(meant)
                if task is None:
                    return self._check(meant)
                self._skip(task)
                return None

    def _again(self, found: JsonObject) -> TaskSpec | None:
        """The task that this object repeats, if there is one.

        It was checked when only the tasks before it existed, and with tools that may not be
        served any more; so it is here.
        """
        known = self.tasks
        place = next((n for n, task in enumerate(known) if task.id == _id_of(found)), None)
        if place is None:
            return None
        before = {task.id: task for task in known[:place]}
        if known[place].id not in self._read:
            before |= self._read
        tools = {**_any_arguments(known[place]), **self._tools}
        same = judge_task(found.value, found.text, self._ground(before, before, tools))
        return known[place] if same == known[place] else None

    def _skip(self, task: TaskSpec) -> None:
        if self._from_the_start is None:
            self._from_the_start = task == self._written[0]
        self._read.setdefault(task.id, task)

    def _check(self, found: JsonObject) -> TaskSpec | Rejected | None:
        everything = {task.id: task for task in self.tasks}
        before = self._read if self._from_the_start else everything
        ground = self._ground(before, everything, self._tools)
        outcome = judge_task(found.value, found.text, ground)
        if not isinstance(outcome, TaskSpec):
            return outcome
        if self._revision.stays(outcome):
            return None
        if self._from_the_start is None:
            self._from_the_start = False
        self._read[outcome.id] = outcome
        return outcome

    def _ground(self, before: Tasks, taken: Tasks, tools: dict[str, ToolSpec]) -> Ground:
        return Ground(
            tools=tools,
            before={**self._revision.usable(self._read), **before},
            taken={**self._revision.tasks, **taken},
            replaceable=self._revision.replaceable,
            failed=self._revision.failed,
            done=self._revision.done,
            unusable=self._revision.unusable(),
            revision=self._number,
            depth=self._depth,
        )


def _any_arguments(task: TaskSpec) -> dict[str, ToolSpec]:
    """The tools that a task names, as if served and content with any arguments."""
    names = (*(task.tools or ()), *((task.tool,) if task.tool else ()))
    anything = {"type": "object", "additionalProperties": True}
    return {name: ToolSpec(name=name, description="", parameters=anything) for name in names}


def _id_of(found: JsonObject) -> str:
    return str(found.value.get("id"))
