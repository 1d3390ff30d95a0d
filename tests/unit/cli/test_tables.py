"""What a plan's table says of its graph."""

import msgspec
from rich.console import Console

from galerne.cli.estimated import costs_by
from galerne.cli.tables import plan_table
from galerne.messages.plan import TaskSpec
from galerne.planner import Plan, estimate
from galerne.settings import Settings
from unit.planner.examples import TOOLS, agent_task, tool_task


def shown(plan: Plan) -> list[str]:
    console = Console(width=80, color_system=None)
    with console.capture() as capture:
        console.print(plan_table(plan))
    return [line.rstrip() for line in capture.get().splitlines()]


def test_the_width_and_the_longest_chain_are_said() -> None:
    plan = Plan((agent_task("1"), agent_task("2"), agent_task("3", "say it", "1", "2")))
    assert shown(plan)[-2:] == ["at most 2 at once · longest chain of 2: 1 → 3", "3 tasks"]


def test_a_long_chain_is_shown_by_its_ends() -> None:
    chain = [agent_task("1"), *(agent_task(str(n), "go on", str(n - 1)) for n in range(2, 31))]
    assert shown(Plan(tuple(chain)))[-2] == (
        "at most 1 at once · longest chain of 30: 1 → 2 → 3 → … → 28 → 29 → 30"
    )


def estimated(*tasks: TaskSpec) -> list[str]:
    plan = Plan(tasks)
    console = Console(width=80, color_system=None)
    with console.capture() as capture:
        console.print(plan_table(plan, estimate(plan, "the goal", TOOLS, costs_by(Settings()))))
    return [line.rstrip() for line in capture.get().splitlines()]


def test_a_plan_with_what_it_will_take() -> None:
    lines = estimated(tool_task("1", "text_stats", {"path": "a"}), agent_task("2", "sum up", "1"))
    assert lines[0].split() == ["task", "kind", "needs", "what", "≈tokens", "≈time"]
    rows = {line[:25].strip(): line[25:].split() for line in lines}
    assert rows["before anything is spent"] == ["at", "least", "expected", "at", "most"]
    assert rows["model calls"] == ["2", "3", "50"]  # 12 turns on each of 4 models, 2 to answer
    assert set(rows) >= {"tokens", "mistral-7b", "mistral-nemo", "money", "all on mixtral-8x22b"}
    assert all(len(line) <= 80 for line in lines)
    said = " ".join(lines)
    assert "assumed: a short answer takes mistral-7b 0.6 s, by its size; mixtral-8x22b 1.0" in said


def test_what_only_limits_bound_is_called_open() -> None:
    nested = msgspec.structs.replace(agent_task("1"), kind="plan")
    lines = estimated(nested)
    assert next(line for line in lines if line.startswith("tokens")).endswith("open")
    assert "open: limits alone allow over 1,000,000,000 tokens; give the job a budget" in lines
