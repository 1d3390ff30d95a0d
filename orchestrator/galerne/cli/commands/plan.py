"""`galerne plan GOAL`: the plan alone, and what it will take; nothing is carried out.

Only the planner's model is asked. No bus is needed.
"""

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from galerne.cli import options
from galerne.cli.parsing import Subparsers

if TYPE_CHECKING:
    from galerne.planner import Estimate, Plan
    from galerne.settings import Settings


def add(commands: Subparsers) -> None:
    parser = commands.add_parser(
        "plan",
        help="show how a goal would be broken into tasks",
        description="Ask the planner's model to break a goal into tasks, and print them with"
        " bounds on the time, tokens and money that they will take. Nothing is carried out; no"
        " server is needed.",
        parents=[options.as_json(), options.models(), options.common()],
    )
    parser.add_argument("goal", help="what to do, in words")
    parser.add_argument(
        "--out", metavar="FILE", type=Path, help="also write goal and tasks to FILE, as JSON"
    )
    parser.set_defaults(run=run)


def run(flags: argparse.Namespace) -> int:
    from galerne.cli.runner import run_command

    settings = options.settings_of(flags)
    return run_command(lambda: _plan(flags, settings))


async def _plan(flags: argparse.Namespace, settings: "Settings") -> int:
    from galerne.cli.endpoints import with_stand_in
    from galerne.cli.estimated import costs_by
    from galerne.cli.output import document, draw
    from galerne.errors import InvalidInputError
    from galerne.models import open_model
    from galerne.models.catalogue import load_setting
    from galerne.models.keys import key_of
    from galerne.planner import Planner, estimate, prompts_of
    from galerne.tools import load_tools

    if not flags.goal.strip():
        raise InvalidInputError("the goal is empty: say what the job is to do")
    if flags.out is not None and not flags.out.absolute().parent.is_dir():
        raise InvalidInputError(f"cannot write {flags.out}: there is no such folder")
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
            prompts=prompts_of(settings.prompts.folder),
        )
        plan = await planner.plan(flags.goal, list(tools.values()))
        specs = [tool.spec for tool in tools.values()]
        found = estimate(plan, flags.goal, specs, costs_by(own))
    if flags.out is not None:
        _write(flags.out, flags.goal, plan)
    if flags.json:
        document(plan_document(plan, found))
        return 0
    from galerne.cli.tables import plan_table

    draw(plan_table(plan, found))
    return 0


def _write(file: Path, goal: str, plan: "Plan") -> None:
    """The plan as a person may change it and `submit --plan` reads it."""
    from galerne.cli.output import note
    from galerne.cli.text import json_text
    from galerne.errors import InvalidInputError

    document = {"goal": goal, "tasks": _tasks(plan)}
    try:
        file.write_text(f"{json_text(document)}\n", encoding="utf-8")
    except OSError as error:
        raise InvalidInputError(f"cannot write {file}: {error.strerror or error}") from error
    note(f"wrote the plan to {file}: {len(plan.tasks)} tasks")


def plan_document(plan: "Plan", found: "Estimate") -> dict[str, Any]:
    """The plan as `--json` prints it: every task has id, kind, instruction and needs."""
    import msgspec

    return {
        "tasks": _tasks(plan),
        "critical_path": list(plan.critical_path()),
        "width": plan.width,
        "rejected": msgspec.to_builtins(plan.rejected),
        "usage": msgspec.to_builtins(plan.usage),
        "estimate": msgspec.to_builtins(found),
    }


def _tasks(plan: "Plan") -> list[dict[str, Any]]:
    import msgspec

    return [
        {
            "id": task.id,
            "kind": task.kind,
            "instruction": task.instruction,
            "needs": list(task.needs),
            **msgspec.to_builtins(task),
        }
        for task in plan.tasks
    ]
