"""The `galerne` command: reads the command line, runs one command, and ends with its exit code.

This is the only place where an error becomes a line on stderr and a code (`exits`).
"""

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Sequence

from galerne.cli.commands import (
    approvals,
    cancel,
    decide,
    doctor,
    export,
    fetch,
    jobs,
    mcp,
    models,
    plan,
    purge,
    quarantine,
    replay,
    review,
    run,
    sessions,
    show,
    stand_in,
    submit,
    tools,
    up,
    watch,
    worker,
)
from galerne.cli.exits import SUCCEEDED, cause, exit_code, message
from galerne.cli.parsing import Parser, Subparsers

_COMMANDS: tuple[Callable[[Subparsers], None], ...] = (
    run.add,
    up.add,
    submit.add,
    plan.add,
    watch.add,
    show.add,
    fetch.add,
    jobs.add,
    sessions.add,
    sessions.add_one,
    cancel.add,
    approvals.add,
    decide.add,
    review.add,
    export.add,
    replay.add,
    purge.add,
    quarantine.add,
    models.add,
    doctor.add,
    tools.add,
    worker.add,
    mcp.add,
    stand_in.add,
)
_QUICKSTART = """\
to begin:
  galerne run "Count the words in README.md"     all in one process, no server, no model
  galerne up                                     a fleet on this machine; prints its address
  galerne submit --server nats://… --wait "…"    a job for that fleet
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; gives the exit code."""
    flags: argparse.Namespace | None = None
    try:
        try:
            flags = _parser().parse_args(arguments)
            code = _run(flags)
        except SystemExit as end:  # argparse: help and version, or a bad flag
            code = end.code if isinstance(end.code, int) else SUCCEEDED
        sys.stdout.flush()
        return code
    except BaseException as error:  # noqa: BLE001 - this is where every error ends
        debug = flags is not None and flags.log_level == "debug"
        return _report(cause(error), debug=debug)


def _run(flags: argparse.Namespace) -> int:
    from galerne.cli import logs

    logs.configure(flags.log_level, flags.log_form)
    code: int = flags.run(flags)
    return code


def _parser() -> Parser:
    parser = Parser(
        prog="galerne",
        description="A durable fleet of agents on NATS: a planner breaks a job into tasks,"
        " executors carry them out, and nothing is lost or paid for twice.",
        epilog=_QUICKSTART,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, help="print the version and exit")
    commands: Subparsers = parser.add_subparsers(
        title="commands", metavar="COMMAND", required=True, parser_class=Parser
    )
    for add in _COMMANDS:
        add(commands)
    return parser


class _Version(argparse.Action):
    """Looks the version up only when it is asked for."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str | None = None) -> None:  # noqa: A002 - argparse's name
        super().__init__(option_strings, dest, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(f"galerne {version('galerne')}")
        parser.exit(SUCCEEDED)


def _report(error: BaseException, *, debug: bool) -> int:
    """Say what went wrong in one line; gives the exit code."""
    if isinstance(error, BrokenPipeError):
        _forget_stdout()
    line = message(error)
    if line:
        from galerne.cli.output import note

        if debug:
            import traceback

            traceback.print_exception(error)

        note(line)
    return exit_code(error)


def _forget_stdout() -> None:
    """Nobody reads it any more; the interpreter would complain when it flushes it at the end."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
