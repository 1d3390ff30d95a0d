"""`galerne show JOB`: a job as it is now."""

import argparse
from typing import TYPE_CHECKING

from galerne.cli import options
from galerne.cli.parsing import Subparsers

if TYPE_CHECKING:
    from galerne.settings import Settings


def add(commands: Subparsers) -> None:
    parser = commands.add_parser(
        "show",
        help="show a job's tasks, times, tokens and result",
        description="Show a job as it is now: its tasks with their times and tokens, and its"
        " result.",
        parents=[options.bus(), options.tenant(), options.as_json(), options.common()],
    )
    parser.add_argument("job", help="the job's id")
    parser.set_defaults(run=run)


def run(flags: argparse.Namespace) -> int:
    from galerne.cli.runner import run_command

    settings = options.settings_of(flags)
    return run_command(lambda: _show(flags, settings))


async def _show(flags: argparse.Namespace, settings: "Settings") -> int:
    from galerne.cli.output import document, draw
    from galerne.client import Client

    async with Client.connect(settings=settings.bus, tenant=flags.tenant) as client:
        view = await client.job(flags.job).view()
    if flags.json:
        document(view)
        return 0
    from galerne.cli.tree import job_tree

    draw(job_tree(view, result=True))
    return 0
