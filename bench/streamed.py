"""The plans that are streamed to the fleet whose makespan is measured, and their critical paths.

streamed      two tools, an agent after each, a tool after both, an agent: six tasks
movie         eight searches beside each other                         (LLMCompiler: which movie is
                                                                       like these four)
parallelqa    three times a search and a calculation on it, then one   (LLMCompiler: the ratio of
              over all three: seven tasks                              the fastest to the slowest)

The last two are plans that LLMCompiler shows its planner as examples, with a planner that speaks as
in the first. How long their tools take is ours, with its proportion: a calculation, which asks a
model, takes longer than a search.
"""

from typing import Any

import msgspec
from bench.paced import THOUGHT, Note

SEARCH = 0.4
"""Seconds of a search."""
CALCULATION = 0.8
"""Seconds of a calculation."""
PAUSE = 0.1
"""Seconds of a tool of the first plan."""


class StreamedPlan(msgspec.Struct, frozen=True):
    """A plan by its name, the first word of the goals that it is written for."""

    name: str
    tasks: tuple[dict[str, Any], ...]

    @property
    def last(self) -> str:
        """The id of the task that ends last."""
        return str(self.tasks[-1]["id"])

    @property
    def chained(self) -> tuple[dict[str, Any], ...]:
        """The same tasks one after the other, as a loop of single steps does them."""
        before = [[], *([task["id"]] for task in self.tasks)]
        return tuple(
            task | {"needs": needs} for task, needs in zip(self.tasks, before, strict=False)
        )

    def critical_path(self, note: Note) -> float:
        """Seconds from the planner's request to the earliest end of all tasks."""
        ends: dict[str, float] = {}
        for task in self.tasks:
            begins = max([note.closed[task["id"]], *(ends[need] for need in task["needs"])])
            ends[task["id"]] = begins + _seconds(task)
        return max(ends.values()) - note.asked


def _seconds(task: dict[str, Any]) -> float:
    return THOUGHT if task["kind"] == "agent" else float(task["args"]["seconds"])


def _tool(task: str, *needs: str, seconds: float = PAUSE) -> dict[str, Any]:
    args = {"name": task, "seconds": seconds}
    return {"id": task, "kind": "tool", "tool": "pause", "args": args, "needs": needs}


def _agent(task: str, *needs: str) -> dict[str, Any]:
    return {"id": task, "kind": "agent", "instruction": f"do {task}", "needs": needs, "tools": []}


def _search(task: str) -> dict[str, Any]:
    return _tool(task, seconds=SEARCH)


def _calculation(task: str, *needs: str) -> dict[str, Any]:
    return _tool(task, *needs, seconds=CALCULATION)


STREAMED = StreamedPlan("streamed", (
    _tool("1"), _tool("2"), _agent("3", "1"), _agent("4", "2"), _tool("5", "3", "4"),
    _agent("6", "5"),
))  # fmt: skip
MOVIE = StreamedPlan("movie", tuple(_search(str(number)) for number in range(1, 9)))
PARALLELQA = StreamedPlan("parallelqa", (
    _search("1"), _calculation("2", "1"), _search("3"), _calculation("4", "3"),
    _search("5"), _calculation("6", "5"), _calculation("7", "2", "4", "6"),
))  # fmt: skip
PLANS = {plan.name: plan for plan in (STREAMED, MOVIE, PARALLELQA)}
