"""`galerne worker ROLE`: one worker process of a fleet."""

import argparse
from functools import partial
from typing import TYPE_CHECKING

from galerne.cli import options
from galerne.cli.parsing import Subparsers, positive

if TYPE_CHECKING:
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
    parser.add_argument("--parent", type=positive, help=argparse.SUPPRESS)
    parser.set_defaults(run=run)


def run(flags: argparse.Namespace) -> int:
    from galerne.cli.runner import run_async

    settings = options.settings_of(flags)
    return run_async(lambda: _work(flags, settings))


async def _work(flags: argparse.Namespace, settings: "Settings") -> int:
    import structlog

    from galerne.bus.background import background
    from galerne.cli.runner import stop_on_signals, stop_with_parent
    from galerne.runtime.roles import serve

    log = structlog.stdlib.get_logger("galerne.worker")
    with structlog.contextvars.bound_contextvars(role=flags.role):
        async with stop_on_signals() as stopping:
            watch = partial(stop_with_parent, flags.parent, stopping)
            async with background(watch):
                await serve(flags.role, settings, stopping.event)
            log.info("drained")
    return 0
