"""`galerne worker ROLE`: one worker process of a fleet."""

import argparse
import os
from functools import partial
from typing import TYPE_CHECKING

from galerne.cli import options
from galerne.cli.parsing import Subparsers, positive
from galerne.errors import InvalidInputError, UnavailableError

if TYPE_CHECKING:
    from galerne.cli.runner import Stopping
    from galerne.settings import Settings

_ROLES = ("coordinator", "planner", "executor", "tools")


def add(commands: Subparsers) -> None:
    parser = commands.add_parser(
        "worker",
        help="be one worker of a fleet",
        description="Be one worker of a fleet until SIGTERM or Ctrl-C; then finish what is under"
        " way and exit with 0. A second signal ends it at once.",
        parents=[options.bus(), options.models(), options.common("info")],
    )
    parser.add_argument("role", choices=_ROLES, help="what kind of worker")
    parser.add_argument(
        "--concurrency", type=positive, metavar="N", help="tasks, or tool calls, at once"
    )
    parser.add_argument(
        "--mcp",
        action="append",
        default=[],
        metavar="SERVER",
        help="for tools: serve those of an MCP server too, a command or URL; repeatable",
    )
    parser.add_argument("--parent", type=positive, help=argparse.SUPPRESS)
    parser.set_defaults(run=run)


def run(flags: argparse.Namespace) -> int:
    from galerne.cli.runner import run_service
    from galerne.faults import arm_from

    arm_from(os.environ)
    settings = _settings(flags)
    if flags.role in {"planner", "executor"} and not getattr(settings, flags.role).endpoint:
        raise UnavailableError(
            f"no model endpoint for the {flags.role}: give --{flags.role}-endpoint URL or set"
            f" GALERNE_{flags.role.upper()}_ENDPOINT (`galerne stand-in` starts one without an LLM)"
        )
    return run_service(partial(_work, flags, settings))


def _settings(flags: argparse.Namespace) -> "Settings":
    settings = options.settings_of(flags)
    if not flags.mcp:
        return settings
    from galerne.cli.mcp_flags import with_mcp

    if flags.role != "tools":
        raise InvalidInputError("--mcp is for `galerne worker tools` alone; leave it out")
    return with_mcp(settings, flags.mcp)


async def _work(flags: argparse.Namespace, settings: "Settings", stopping: "Stopping") -> int:
    import structlog

    from galerne.cli.runner import stopping_with
    from galerne.logs import get_logger
    from galerne.runtime.roles import serve

    log = get_logger("galerne.worker")
    with structlog.contextvars.bound_contextvars(role=flags.role):
        async with stopping_with(flags.parent, stopping):
            await serve(flags.role, settings, stopping.event)
        log.info("drained")
    return 0
