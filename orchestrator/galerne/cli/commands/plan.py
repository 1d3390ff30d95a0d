"""`galerne plan GOAL`: the plan alone; nothing is carried out and no bus is needed."""

import argparse
from functools import partial
from typing import TYPE_CHECKING, Any

from galerne.cli import options
from galerne.cli.parsing import Subparsers

if TYPE_CHECKING:
    from galerne.planner import Plan
    from galerne.settings import Settings


def add(commands: Subparsers) -> None:
    parser = commands.add_parser(
        "plan",
        help="show how a goal would be broken into tasks",
        description="Ask the planner's model to break a goal into tasks, and print them."
        " Nothing is carried out; no server is needed.",
        parents=[options.as_json(), options.models(), options.common()],
    )
    parser.add_argument("goal", help="what to do, in words")
    parser.set_defaults(run=run)


def run(flags: argparse.Namespace) -> int:
    from galerne.cli.runner import run_command

    settings = options.settings_of(flags)
    return run_command(lambda: _plan(flags, settings))


async def _plan(flags: argparse.Namespace, settings: "Settings") -> int:
    from galerne.cli.endpoints import with_stand_in
    from galerne.cli.output import document, draw
    from galerne.errors import InvalidInputError
    from galerne.models import open_model
    from galerne.models.catalogue import load_setting
    from galerne.models.keys import key_of
    from galerne.planner import Planner
    from galerne.tools import load_tools

    if not flags.goal.strip():
        raise InvalidInputError("the goal is empty: say what the job is to do")
    tools = load_tools(settings.tools)
    async with with_stand_in(settings, ("planner",)) as own:
        role = own.planner
        planner = Planner(
            role.endpoint or "",
            role.model,
            api_key=key_of(role) or None,
            timeout=role.timeout,
            max_tokens=role.max_tokens,
            backend=role.backend,
            connect=partial(open_model, catalogue=load_setting(settings.models.catalogue)),
        )
        plan = await planner.plan(flags.goal, list(tools.values()))
    if flags.json:
        document(plan_document(plan))
        return 0
    from galerne.cli.tables import plan_table

    draw(plan_table(plan))
    return 0


def plan_document(plan: "Plan") -> dict[str, Any]:
    """The plan as `--json` prints it: every task has id, kind, instruction and needs."""
    import msgspec

    tasks = [
        {
            "id": task.id,
            "kind": task.kind,
            "instruction": task.instruction,
            "needs": list(task.needs),
            **msgspec.to_builtins(task),
        }
        for task in plan.tasks
    ]
    return {
        "tasks": tasks,
        "critical_path": list(plan.critical_path()),
        "width": plan.width,
        "rejected": msgspec.to_builtins(plan.rejected),
        "usage": msgspec.to_builtins(plan.usage),
    }
