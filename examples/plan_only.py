"""Use the planner in a program of your own: no bus, no fleet, your own way of carrying tasks out.

GALERNE_PLANNER_ENDPOINT=http://127.0.0.1:11434 python examples/plan_only.py

The tools are yours too: here a plain function is offered, and each planned direct call of it is
done on the spot, while the model is still writing the rest of the plan.
"""

import os

import anyio

from galerne import Planner, tool


@tool
def calculate(expression: str) -> float:
    """Multiply two numbers.

    Args:
        expression: Two numbers with a star between them, such as 6 * 7.
    """
    left, right = expression.split("*")
    return float(left) * float(right)


async def main() -> None:
    """Plan, and do each direct call as it comes."""
    planner = Planner(
        os.environ.get("GALERNE_PLANNER_ENDPOINT", "http://127.0.0.1:11434"),
        model=os.environ.get("GALERNE_PLANNER_MODEL", "mixtral:8x22b"),
    )
    goal = "Compute 19 * 23, compute 6 * 7, then say which is larger"
    async with planner.open(goal, [calculate]) as tasks:
        async for task in tasks:
            if task.kind == "tool" and task.args and not task.needs:
                print(f"task {task.id}: {task.args['expression']} is {calculate(**task.args)}")
            else:
                print(f"task {task.id}: {task.instruction} (after {', '.join(task.needs)})")
        print(f"{tasks.usage.tokens} tokens for the plan")


if __name__ == "__main__":
    anyio.run(main)
