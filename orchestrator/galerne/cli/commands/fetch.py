"""`galerne fetch JOB [TASK] --output FILE`: a result of any size, into a file."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from galerne.cli import options
from galerne.cli.parsing import Subparsers

if TYPE_CHECKING:
    from galerne.settings import Settings


def add(commands: Subparsers) -> None:
    parser = commands.add_parser(
        "fetch",
        help="write a job's answer, or a task's result, to a file",
        description="Write the answer of a job, or the result of one of its tasks, to a file. A"
        " result that is too large to print is streamed and its hash compared; the file is whole"
        " or not there. Text is written as it is, anything else as JSON.",
        parents=[options.bus(), options.tenant(), options.as_json(), options.common()],
    )
    parser.add_argument("job", help="the job's id")
    parser.add_argument("task", nargs="?", help="a task's id (the job's answer without)")
    parser.add_argument(
        "--output", metavar="FILE", type=Path, required=True, help="where to; it is replaced"
    )
    parser.set_defaults(run=run)


def run(flags: argparse.Namespace) -> int:
    from galerne.cli.runner import run_command

    settings = options.settings_of(flags)
    return run_command(lambda: _fetch(flags, settings))


async def _fetch(flags: argparse.Namespace, settings: "Settings") -> int:
    from galerne.cli.output import document, note
    from galerne.client import Client
    from galerne.messages.blobs import packed, size_text
    from galerne.tools import BlobFile

    async with Client.connect(settings=settings.bus, tenant=flags.tenant) as client:
        found = await client.job(flags.job).output(flags.task)
        if isinstance(found, BlobFile):
            size = found.size
            await found.save_to(flags.output)
        else:
            data, _ = packed(found)
            size = len(data)
            _write(flags.output, data)
    if flags.json:
        document({"job": flags.job, "file": str(flags.output), "bytes": size})
    else:
        note(f"wrote {size_text(size)} to {flags.output}")
    return 0


def _write(path: Path, data: bytes) -> None:
    """Raises InvalidInputError."""
    from galerne.errors import InvalidInputError

    try:
        path.write_bytes(data)
    except OSError as error:
        raise InvalidInputError(f"cannot write {path}: {error.strerror or error}") from error
