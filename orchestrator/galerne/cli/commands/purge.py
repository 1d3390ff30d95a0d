"""`galerne purge JOB` and `galerne purge --older-than AGE`: take jobs that are over away."""

import argparse
from typing import TYPE_CHECKING

from galerne.cli import options
from galerne.cli.commands.quarantine import age
from galerne.cli.parsing import Subparsers

if TYPE_CHECKING:
    from galerne.client import Client
    from galerne.settings import Settings


def add(commands: Subparsers) -> None:
    parser = commands.add_parser(
        "purge",
        help="take jobs that are over away for good",
        description="Take everything of jobs that are over away: log, tool journal, blobs."
        " Coordinators do it by themselves after retention.keep seconds. `galerne export` first"
        " keeps a copy.",
        parents=[options.bus(), options.tenant(), options.as_json(), options.common()],
    )
    parser.add_argument("jobs", nargs="*", metavar="JOB", help="their ids")
    parser.add_argument(
        "--older-than",
        type=age,
        metavar="AGE",
        help="all of the tenant that ended longer ago, as 90s, 30m, 12h, 7d",
    )
    parser.set_defaults(run=run)


def run(flags: argparse.Namespace) -> int:
    from galerne.cli.runner import run_command
    from galerne.errors import InvalidInputError

    if bool(flags.jobs) == (flags.older_than is not None):
        raise InvalidInputError("say which jobs to purge: their ids, or --older-than AGE")
    settings = options.settings_of(flags)
    return run_command(lambda: _purge(flags, settings))


async def _purge(flags: argparse.Namespace, settings: "Settings") -> int:
    from galerne.cli.output import document, note
    from galerne.client import Client

    async with Client.connect(settings=settings.bus, tenant=flags.tenant) as client:
        if flags.older_than is not None:
            purged = await client.purge(flags.older_than)
        else:
            purged = await _purge_each(client, flags.jobs)
    if flags.json:
        document({"purged": purged})
    else:
        note(f"{purged} job{' was' if purged == 1 else 's were'} purged")
    return 0


async def _purge_each(client: "Client", jobs: list[str]) -> int:
    """Purge all that can be. Raises the first refusal afterwards."""
    from galerne.errors import PermanentError

    refused: PermanentError | None = None
    wanted = dict.fromkeys(jobs)
    for job in wanted:
        try:
            await client.job(job).purge()
        except PermanentError as error:
            refused = refused or error
    if refused is not None:
        raise refused
    return len(wanted)
