"""`galerne watch JOB`: follow a job to its end."""

import argparse
from typing import TYPE_CHECKING

from galerne.cli import options
from galerne.cli.parsing import Subparsers

if TYPE_CHECKING:
    from galerne.settings import Settings


def add(commands: Subparsers) -> None:
    parser = commands.add_parser(
        "watch",
        help="follow a job to its end and print its answer",
        description="Follow a job to its end: a live tree on a terminal, a line for each change"
        " elsewhere, both on stderr; then its answer (or with --json all of it) on stdout.",
        parents=[options.bus(), options.tenant(), options.as_json(), options.common()],
    )
    parser.add_argument("job", help="the job's id")
    parser.set_defaults(run=run)


def run(flags: argparse.Namespace) -> int:
    from galerne.cli.runner import run_command

    settings = options.settings_of(flags)
    return run_command(lambda: _watch(flags, settings))


async def _watch(flags: argparse.Namespace, settings: "Settings") -> int:
    from galerne.cli.submitting import follow_to_the_end
    from galerne.client import Client

    async with Client.connect(settings=settings.bus, tenant=flags.tenant) as client:
        return await follow_to_the_end(client.job(flags.job), as_json=flags.json)
