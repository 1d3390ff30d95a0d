"""`galerne tools`: what is known of tools, served ones and one's own."""

from galerne.cli import options
from galerne.cli.commands import tools_check
from galerne.cli.parsing import Parser, Subparsers


def add(commands: Subparsers) -> None:
    parser = commands.add_parser(
        "tools",
        help="look a module of tools over",
        description="Tools that models may call.",
        parents=[options.as_json(), options.common()],
    )
    actions: Subparsers = parser.add_subparsers(
        title="actions", metavar="ACTION", required=True, parser_class=Parser
    )
    tools_check.add(actions)
