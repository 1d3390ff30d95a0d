"""300 real plans as a planner's words: every task is read, in its order, as wide as its graph."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from galerne.messages.plan import TaskSpec
from galerne.planner import Plan, PlanReader, task_line
from unit.planner.examples import agent_task

RECORDED = Path(__file__).parents[4] / "shared/data/plans/worfbench_300.jsonl"
NODES = {"START", "END"}

pytestmark = pytest.mark.skipif(
    not RECORDED.is_file(), reason="../shared/data is absent: no recorded plans"
)


def needs_of(row: Any) -> dict[str, list[str]]:
    needs: dict[str, list[str]] = {node["id"]: [] for node in row["nodes"]}
    for before, after in row["edges"]:
        if not NODES & {before, after}:
            needs[after].append(before)
    return needs


def written(row: Any) -> list[TaskSpec]:
    """The plan as a planner would write it: every need above its task."""
    needs, texts = needs_of(row), {node["id"]: node["text"] for node in row["nodes"]}
    tasks: list[TaskSpec] = []
    while len(tasks) < len(needs):
        there = {str(task.id) for task in tasks}
        ready = (one for one in needs if one not in there and there.issuperset(needs[one]))
        one = next(ready)
        tasks.append(agent_task(one, texts[one], *needs[one]))
    return tasks


@pytest.mark.parametrize("size", [1, 17, 100_000])
def test_every_plan_is_read_whole_and_as_wide_as_it_is(size: int) -> None:
    rows = [msgspec.json.decode(line) for line in RECORDED.read_bytes().splitlines()]
    assert len(rows) == 300
    for row in rows:
        tasks = written(row)
        text = "Here is the plan:\n```json\n" + "\n".join(map(task_line, tasks)) + "\n```"
        reader = PlanReader(())
        read = [
            one for at in range(0, len(text), size) for one in reader.feed(text[at : at + size])
        ]
        assert [*read, *reader.finish()] == tasks
        plan = Plan(reader.tasks)
        assert plan.width == row["max_parallel"]
        waves = {task: place for place, wave in enumerate(plan.levels()) for task in wave}
        for task in tasks:
            assert all(waves[need] < waves[task.id] for need in task.needs)
        assert len(plan.critical_path()) == len(plan.levels())
