"""`galerne tools [check]`: which tools a fleet serves, and looking one's own over."""

import argparse
from typing import TYPE_CHECKING

from galerne.cli import options
from galerne.cli.commands import tools_check
from galerne.cli.parsing import Parser, Subparsers

if TYPE_CHECKING:
    from galerne.settings import Settings


def add(commands: Subparsers) -> None:
    parser = commands.add_parser(
        "tools",
        help="list the tools that are served, or look a module of tools over",
        description="List the tools that the fleet's workers serve now: each version with its"
        " effect, whether a person is asked first, how to call it, and how busy its workers are.",
        parents=[options.bus(), options.as_json(), options.common()],
    )
    parser.set_defaults(run=run)
    actions: Subparsers = parser.add_subparsers(
        title="actions", metavar="ACTION", parser_class=Parser
    )
    tools_check.add(actions)


def run(flags: argparse.Namespace) -> int:
    from galerne.cli.runner import run_command

    settings = options.settings_of(flags)
    return run_command(lambda: _list(flags, settings))


async def _list(flags: argparse.Namespace, settings: "Settings") -> int:
    from galerne.cli.output import document, draw, note
    from galerne.cli.served import served, served_table
    from galerne.client import Client

    async with Client.connect(settings=settings.bus) as client:
        found = served(await client.tool_workers())
    if flags.json:
        document(found)
    elif found:
        draw(served_table(found))
    else:
        note("no worker serves any tool: start one with `galerne worker tools`")
    return 0
