"""`galerne mcp`: the fleet as a server of MCP, for any host that speaks it."""

import argparse
from typing import TYPE_CHECKING

from galerne.cli import options
from galerne.cli.parsing import Subparsers

if TYPE_CHECKING:
    from galerne.cli.runner import Stopping
    from galerne.settings import Settings


def add(commands: Subparsers) -> None:
    parser = commands.add_parser(
        "mcp",
        help="be an MCP server whose tools are the fleet's jobs",
        description="Be a server of the Model Context Protocol, so that any MCP host can submit"
        " jobs to a fleet, watch them, read their results and cancel them: on stdin and stdout,"
        " or with --http as streamable HTTP at /mcp. It ends when the host closes its stdin.",
        parents=[options.bus(), options.tenant(), options.common()],
    )
    parser.add_argument(
        "--http",
        metavar="HOST:PORT",
        type=address,
        help="listen here; whoever reaches it may use the fleet, so keep it on 127.0.0.1",
    )
    parser.set_defaults(run=run)


def run(flags: argparse.Namespace) -> int:
    from functools import partial

    from galerne.cli.runner import run_service

    settings = options.settings_of(flags)
    check_installed()
    if flags.http is None:
        return _serve_stdio(settings, flags.tenant)
    return run_service(partial(_serve_http, settings, flags.tenant, *flags.http))


def address(text: str) -> tuple[str, int]:
    """`127.0.0.1:8000`, `[::1]:8000` or `:8000` as host and port."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:  # noqa: PLR2004 - the last port
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT, as in 127.0.0.1:8000")
    return host.strip("[]") or "127.0.0.1", int(port)


def check_installed() -> None:
    """Raises InvalidInputError where the package `mcp` is not there."""
    from importlib.util import find_spec

    from galerne.errors import InvalidInputError

    if find_spec("mcp") is None:
        raise InvalidInputError("MCP needs a package: pip install 'galerne[mcp]'")


def _serve_stdio(settings: "Settings", tenant: str) -> int:
    """Until stdin ends. A signal ends the process at once: a thread that reads stdin cannot be
    cancelled, and nothing is under way that a job would lose.
    """
    import signal
    from importlib.metadata import version

    import anyio

    from galerne.cli.mcp_tools import fleet_server

    signal.signal(signal.SIGINT, signal.SIG_DFL)
    anyio.run(fleet_server(settings.bus, tenant, version("galerne")).run_stdio_async)
    return 0


async def _serve_http(
    settings: "Settings", tenant: str, host: str, port: int, stopping: "Stopping"
) -> int:
    from importlib.metadata import version

    from galerne.cli.mcp_http import serve
    from galerne.cli.mcp_tools import fleet_server

    server = fleet_server(settings.bus, tenant, version("galerne"))
    await serve(server.streamable_http_app(host=host), host, port, stopping.event)
    return 0
