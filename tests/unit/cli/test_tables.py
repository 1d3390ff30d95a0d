"""What a plan's table says of its graph."""

from rich.console import Console

from galerne.cli.tables import plan_table
from galerne.planner import Plan
from unit.planner.examples import agent_task


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
