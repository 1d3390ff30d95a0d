"""`galerne run GOAL`: do one job now and print its answer.

Without a server it brings a whole fleet up in this process; with one it is `submit --wait`.
"""

import argparse
from typing import TYPE_CHECKING

from galerne.cli import options
from galerne.cli.limits import budget_of, limits, planning, planning_of
from galerne.cli.parsing import Subparsers

if TYPE_CHECKING:
    from galerne.settings import Settings

_MODEL_FLAGS = (
    "endpoint",
    "planner_endpoint",
    "executor_endpoint",
    "planner_model",
    "executor_model",
    "root",
)


def add(commands: Subparsers) -> None:
    parser = commands.add_parser(
        "run",
        help="do one job and print its answer; needs no server and no model",
        description="Do one job and print its answer. Without a server, everything that is"
        " needed runs inside this command; without a model endpoint, an Ollama on this machine"
        " is used, else the stand-in model server (rule-based, no LLM).",
        parents=[
            options.bus(),
            options.session(),
            options.as_json(),
            limits(),
            planning(),
            options.models(),
            options.common(),
        ],
    )
    parser.add_argument("goal", nargs="?", help="what to do, in words")
    parser.set_defaults(run=run)


def run(flags: argparse.Namespace) -> int:
    from galerne.cli.runner import run_command

    settings = options.settings_of(flags)
    return run_command(lambda: _run(flags, settings))


async def _run(flags: argparse.Namespace, settings: "Settings") -> int:
    from galerne.cli.submitting import Order, check, submit_and_follow
    from galerne.errors import InvalidInputError

    order = Order(
        budget=budget_of(flags),
        deadline=flags.deadline,
        approve=tuple(flags.approve),
        **planning_of(flags),
        session=flags.session,
    )
    check(order, settings)
    if settings.bus.server:
        _say_what_is_ignored(flags, settings.bus.server)
        return await submit_and_follow(order, settings, as_json=flags.json, prompts=True)
    if order.session is not None:
        raise InvalidInputError(
            "the fleet that `galerne run` starts ends with it, and a session would, too: give the"
            " server of a fleet that stays (--server; `galerne up` starts one)"
        )
    from galerne.cli.embedded import embedded_fleet
    from galerne.cli.endpoints import with_stand_in

    async with with_stand_in(settings) as at_models, embedded_fleet(at_models) as own:
        return await submit_and_follow(order, own, as_json=flags.json, goes_on=False, prompts=True)


def _say_what_is_ignored(flags: argparse.Namespace, server: str) -> None:
    from galerne.cli.output import note
    from galerne.client.patience import shown

    given = [flag for flag in _MODEL_FLAGS if getattr(flags, flag) is not None]
    if given:
        named = ", ".join(f"--{flag.replace('_', '-')}" for flag in given)
        note(f"{named} has no effect here: the fleet on {shown(server)} has its own models")
    else:
        note(f"using the fleet on {shown(server)}")
