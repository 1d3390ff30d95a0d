"""`galerne cancel JOB`: stop a job."""

import argparse
from typing import TYPE_CHECKING

from galerne.cli import options
from galerne.cli.parsing import Subparsers

if TYPE_CHECKING:
    from galerne.settings import Settings


def add(commands: Subparsers) -> None:
    parser = commands.add_parser(
        "cancel",
        help="stop a job",
        description="Ask the coordinators to stop a job. What has been done stays in its log.",
        parents=[options.bus(), options.tenant(), options.as_json(), options.common()],
    )
    parser.add_argument("job", help="the job's id")
    parser.add_argument(
        "--why", default="cancelled by its user", help="a sentence for the log (%(default)s)"
    )
    parser.set_defaults(run=run)


def run(flags: argparse.Namespace) -> int:
    from galerne.cli.runner import run_command

    settings = options.settings_of(flags)
    return run_command(lambda: _cancel(flags, settings))


async def _cancel(flags: argparse.Namespace, settings: "Settings") -> int:
    from galerne.cli.output import document, note
    from galerne.client import Client

    async with Client.connect(settings=settings.bus, tenant=flags.tenant) as client:
        job = client.job(flags.job)
        await job.cancel(flags.why)
    if flags.json:
        document({"job": job.id, "cancel": "requested"})
    else:
        note(f"job {job.id} is being cancelled")
    return 0
