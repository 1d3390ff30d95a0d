"""`galerne jobs`: the newest jobs of a tenant."""

import argparse
import time
from typing import TYPE_CHECKING

from galerne.cli import options
from galerne.cli.parsing import Subparsers, positive

if TYPE_CHECKING:
    from galerne.settings import Settings


def add(commands: Subparsers) -> None:
    parser = commands.add_parser(
        "jobs",
        help="list the newest jobs",
        description="List the newest jobs of a tenant, newest first.",
        parents=[options.bus(), options.tenant(), options.as_json(), options.common()],
    )
    parser.add_argument(
        "--limit", type=positive, default=20, metavar="N", help="how many (%(default)s)"
    )
    parser.set_defaults(run=run)


def run(flags: argparse.Namespace) -> int:
    from galerne.cli.runner import run_command

    settings = options.settings_of(flags)
    return run_command(lambda: _jobs(flags, settings))


async def _jobs(flags: argparse.Namespace, settings: "Settings") -> int:
    from galerne.cli.output import document, draw, note
    from galerne.client import Client

    async with Client.connect(settings=settings.bus, tenant=flags.tenant) as client:
        found = await client.jobs(limit=flags.limit)
    if flags.json:
        document(found)
    elif found:
        from galerne.cli.tables import jobs_table

        draw(jobs_table(found, time.time()))
    else:
        note(f"tenant {flags.tenant} has no jobs (another tenant's: --tenant NAME)")
    return 0
