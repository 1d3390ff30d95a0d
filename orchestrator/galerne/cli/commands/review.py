"""`galerne review JOB`: look at the plan of a job that waits for it, agree to it, or change it."""

import argparse
from typing import TYPE_CHECKING, Any

from galerne.cli import options
from galerne.cli.exits import FAILED, SUCCEEDED
from galerne.cli.parsing import Subparsers

if TYPE_CHECKING:
    from galerne.client import Job
    from galerne.messages.facts import Decided
    from galerne.settings import Settings


def add(commands: Subparsers) -> None:
    parser = commands.add_parser(
        "review",
        help="agree to the plan of a job that waits for it, or change it",
        description="Without a flag, print the plan that a job waits with (submitted with"
        " --review) as JSON: save it, change it, and give it back with --edit. Nothing of the job"
        " starts before. `galerne approvals` lists what waits.",
        parents=[options.bus(), options.tenant(), options.as_json(), options.common()],
    )
    parser.add_argument("job", help="the job's id")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--approve", action="store_true", help="carry it out as it is")
    what.add_argument("--edit", metavar="FILE", help="carry out this one in its place")
    what.add_argument("--deny", action="store_true", help="refuse it: the job fails")
    parser.add_argument("--why", default="", metavar="TEXT", help="with --deny, a sentence")
    parser.set_defaults(run=run)


def run(flags: argparse.Namespace) -> int:
    from galerne.cli.runner import run_command

    settings = options.settings_of(flags)
    return run_command(lambda: _review(flags, settings))


async def _review(flags: argparse.Namespace, settings: "Settings") -> int:
    from galerne.cli.output import document, note
    from galerne.cli.questions import decided_text
    from galerne.client import Client

    async with Client.connect(settings=settings.bus, tenant=flags.tenant) as client:
        job = client.job(flags.job)
        if not (flags.approve or flags.edit is not None or flags.deny):
            document(await _waiting(job))
            return SUCCEEDED
        wanted, stands = await _say(flags, job)
    mine = (stands.verdict, stands.value) == wanted
    if flags.json:
        document(stands)
    elif mine:
        note(decided_text(stands))
    if not mine:
        note(f"another word was first and stands: {decided_text(stands)}")
    return SUCCEEDED if mine else FAILED


async def _say(flags: argparse.Namespace, job: "Job") -> "tuple[tuple[str, Any], Decided]":
    """What was to be said, and the word that stands."""
    import msgspec

    from galerne.cli.files import json_file
    from galerne.cli.questions import me
    from galerne.core.given import REVIEW
    from galerne.core.written import written_plan

    if flags.deny:
        return ("denied", None), await job.deny(REVIEW[0], flags.why, by=me())
    if flags.edit is None:
        return ("approved", None), await job.review(by=me())
    tasks = written_plan(json_file(flags.edit, "--edit"))
    wanted = {"tasks": msgspec.to_builtins(tasks, str_keys=True)}
    return ("answered", _plain(wanted)), await job.review(tasks, by=me())


def _plain(value: Any) -> Any:
    """As it comes back from the wire."""
    import msgspec

    return msgspec.json.decode(msgspec.json.encode(value))


async def _waiting(job: "Job") -> Any:
    """The draft. Raises NotFoundError where none waits."""
    from galerne.errors import NotFoundError

    for one in await job.asks():
        if one.what == "review":
            return one.arguments
    raise NotFoundError(f"no plan of job {job.id} waits for a review")
