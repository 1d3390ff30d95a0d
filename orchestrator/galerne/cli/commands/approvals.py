"""`galerne approvals`: what waits for a person."""

import argparse
import time
from typing import TYPE_CHECKING

from galerne.cli import options
from galerne.cli.parsing import Subparsers

if TYPE_CHECKING:
    from galerne.settings import Settings


def add(commands: Subparsers) -> None:
    parser = commands.add_parser(
        "approvals",
        help="list what waits for a person's word",
        description="List what waits for a person in the running jobs of a tenant, oldest first:"
        " calls that want leave, effects in doubt, questions. Each with the command that settles"
        " it.",
        parents=[options.bus(), options.tenant(), options.as_json(), options.common()],
    )
    parser.set_defaults(run=run)


def run(flags: argparse.Namespace) -> int:
    from galerne.cli.runner import run_command

    settings = options.settings_of(flags)
    return run_command(lambda: _approvals(flags, settings))


async def _approvals(flags: argparse.Namespace, settings: "Settings") -> int:
    from galerne.cli.output import answer, document, note
    from galerne.cli.questions import listing
    from galerne.client import Client

    async with Client.connect(settings=settings.bus, tenant=flags.tenant) as client:
        found = await client.approvals()
    if flags.json:
        document(found)
    elif found:
        answer(listing(found, time.time()))
    else:
        note(f"nothing of tenant {flags.tenant} waits for a person")
    return 0
