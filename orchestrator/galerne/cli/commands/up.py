"""`galerne up`: a fleet of real processes on this machine, kept alive.

    nats-server ─┬─ stand-in (only without a model endpoint)
                 └─ coordinators, planners, executors, tool workers

Its log lies in a folder, so that jobs survive the next `up`. Ctrl-C lets the workers finish what
they have in hand, then stops the rest.
"""

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from galerne.cli import options
from galerne.cli.parsing import Subparsers, port, positive

if TYPE_CHECKING:
    from galerne.cli.runner import Stopping
    from galerne.settings import Settings


def add(commands: Subparsers) -> None:
    parser = commands.add_parser(
        "up",
        help="run a fleet on this machine",
        description="Run a fleet of worker processes on this machine and keep it alive, on a"
        " nats-server of its own unless a server is configured. The first line on stdout is the"
        " server's address.",
        parents=[options.bus(), options.models(), options.common("info")],
    )
    parser.add_argument(
        "--store",
        type=Path,
        default=Path(".galerne"),
        metavar="DIR",
        help="where nats-server keeps jobs (%(default)s)",
    )
    parser.add_argument(
        "--port", type=port, default=0, help="of nats-server; 0: a free one (%(default)s)"
    )
    for flag, count in (("coordinators", 2), ("planners", 1), ("executors", 2)):
        parser.add_argument(
            f"--{flag}", type=positive, default=count, metavar="N", help="(%(default)s)"
        )
    parser.add_argument(
        "--tool-workers", type=positive, default=1, metavar="N", help="(%(default)s)"
    )
    parser.set_defaults(run=run)


def run(flags: argparse.Namespace) -> int:
    from galerne.cli.runner import run_service

    settings = options.settings_of(flags)
    return run_service(partial(_up, flags, settings))


async def _up(flags: argparse.Namespace, settings: "Settings", stopping: "Stopping") -> int:
    from galerne.cli.fleet import Counts, LocalFleet
    from galerne.cli.output import note
    from galerne.runtime.supervisor import ChildFailedError

    fleet = LocalFleet(
        settings,
        store=flags.store,
        port=flags.port,
        counts=Counts(
            coordinator=flags.coordinators,
            planner=flags.planners,
            executor=flags.executors,
            tools=flags.tool_workers,
        ),
        log_level=flags.log_level,
        log_form=flags.log_form,
    )
    try:
        await fleet.run(stopping)
    except ChildFailedError as error:
        note(str(error))
        return error.exit_code if error.exit_code > 0 else 1
    return 0
