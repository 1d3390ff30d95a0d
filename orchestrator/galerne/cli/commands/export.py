"""`galerne export JOB`: every fact of a job in one file."""

import argparse
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING

from galerne.cli import options
from galerne.cli.parsing import Subparsers

if TYPE_CHECKING:
    from galerne.client import Job
    from galerne.settings import Settings


def add(commands: Subparsers) -> None:
    parser = commands.add_parser(
        "export",
        help="write every fact of a job into a file",
        description="Write every fact that the log holds of a job, running or over, into a file of"
        " JSON lines, which `galerne replay` reads. The file appears when it is whole.",
        parents=[options.bus(), options.tenant(), options.common()],
    )
    parser.add_argument("job", help="the job's id")
    parser.add_argument(
        "--output", metavar="FILE", help="the file (JOB.jsonl here), or - for stdout"
    )
    parser.set_defaults(run=run)


def run(flags: argparse.Namespace) -> int:
    from galerne.cli.runner import run_command

    settings = options.settings_of(flags)
    return run_command(lambda: _export(flags, settings))


async def _export(flags: argparse.Namespace, settings: "Settings") -> int:
    from galerne.cli.output import note
    from galerne.client import Client
    from galerne.client.export import write_whole

    async with Client.connect(settings=settings.bus, tenant=flags.tenant) as client:
        job = client.job(flags.job)
        if flags.output == "-":
            await _print(job)
            return 0
        path = Path(flags.output or f"{job.id}.jsonl")
        async with aclosing(job.export()) as pieces:
            await write_whole(path, pieces)
    note(f"job {job.id} is in {path}")
    return 0


async def _print(job: "Job") -> None:
    """To stdout, where a line is safe to look at: control characters are escaped in JSON."""
    import sys

    async with aclosing(job.export()) as pieces:
        async for piece in pieces:
            sys.stdout.buffer.write(piece)
    sys.stdout.flush()
