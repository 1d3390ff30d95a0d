"""`galerne approve|deny|answer|resolve JOB CALL`: a person's word on a question of a job.

The first word stands. Where it was another's, and another one, that is said, with code 1.
"""

import argparse
from typing import TYPE_CHECKING, Any

from galerne.cli import options
from galerne.cli.exits import FAILED, SUCCEEDED
from galerne.cli.parsing import Parser, Subparsers

if TYPE_CHECKING:
    from galerne.client import Job
    from galerne.core.open_question import Word
    from galerne.settings import Settings


def add(commands: Subparsers) -> None:
    _add_approve(commands)
    _add_deny(commands)
    _add_answer(commands)
    _add_resolve(commands)


def _command(commands: Subparsers, name: str, what: str, more: str) -> Parser:
    parser = commands.add_parser(
        name,
        help=what,
        description=f"{what[0].upper()}{what[1:]}. {more} `galerne approvals` lists what is open.",
        parents=[options.bus(), options.tenant(), options.as_json(), options.common()],
    )
    parser.add_argument("job", help="the job's id")
    parser.add_argument("call", help="what is asked about, such as 2.1")
    return parser


def _add_approve(commands: Subparsers) -> None:
    more = "The leave is for the arguments as they are shown, and for no others."
    parser = _command(commands, "approve", "give leave for a call or a task", more)
    parser.set_defaults(run=run, verdict="approved")


def _add_deny(commands: Subparsers) -> None:
    more = "A model reads why, and goes on from there; a denied task fails."
    parser = _command(commands, "deny", "refuse a call, a task or an answer", more)
    parser.add_argument("--why", default="", metavar="TEXT", help="a sentence that the model reads")
    parser.set_defaults(run=run, verdict="denied")


def _add_answer(commands: Subparsers) -> None:
    more = "The value is taken as text where the task takes text, else as JSON."
    parser = _command(commands, "answer", "answer the question of a task", more)
    value = parser.add_mutually_exclusive_group(required=True)
    value.add_argument("value", nargs="?", metavar="VALUE", help="text, or what the task asks for")
    value.add_argument("--json-value", metavar="JSON", help="a JSON value, taken as it is")
    parser.set_defaults(run=run, verdict="answered")


def _add_resolve(commands: Subparsers) -> None:
    more = "What has happened is not done again; what has not is begun anew."
    parser = _command(commands, "resolve", "say whether a call in doubt has happened", more)
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument(
        "--happened",
        action="store_const",
        const="happened",
        dest="verdict",
        help="it has; its result is not known, so whoever needs it gets null",
    )
    how.add_argument(
        "--not",
        action="store_const",
        const="not_happened",
        dest="verdict",
        help="it has not: begin it anew",
    )
    how.add_argument("--result", metavar="JSON", help="it has, and this is its result")
    parser.set_defaults(run=run)


def run(flags: argparse.Namespace) -> int:
    from galerne.cli.runner import run_command

    settings = options.settings_of(flags)
    return run_command(lambda: _decide(flags, settings))


async def _decide(flags: argparse.Namespace, settings: "Settings") -> int:
    from galerne.cli.output import document, note
    from galerne.cli.questions import decided_text
    from galerne.client import Client

    async with Client.connect(settings=settings.bus, tenant=flags.tenant) as client:
        job = client.job(flags.job)
        word = await _word(flags, job)
        stands = await job.decide(
            flags.call, word.verdict, value=word.value, why=word.why, by=word.by
        )
    mine = (stands.verdict, stands.value) == (word.verdict, word.value)
    if flags.json:
        document(stands)
    if mine and not flags.json:
        note(decided_text(stands))
    if not mine:
        note(f"another word was first and stands: {decided_text(stands)}")
    return SUCCEEDED if mine else FAILED


async def _word(flags: argparse.Namespace, job: "Job") -> "Word":
    from galerne.cli.questions import me
    from galerne.core.open_question import Word

    match flags.verdict:
        case "answered":
            return Word("answered", await _value(flags, job), by=me())
        case "denied":
            return Word("denied", why=flags.why, by=me())
        case None:
            return Word("happened", _json(flags.result, "--result"), by=me())
        case verdict:
            return Word(verdict, by=me())


async def _value(flags: argparse.Namespace, job: "Job") -> Any:
    """The answer, in the form that the question wants. Raises InvalidInputError."""
    from galerne.cli.questions import value_of
    from galerne.core.asks import call_name, parse_call

    if flags.json_value is not None:
        return _json(flags.json_value, "--json-value")
    wanted = call_name(*parse_call(flags.call))
    open_ones = {one.call: one for one in await job.asks()}
    question = open_ones.get(wanted)
    return value_of(flags.value, question.output if question else None)


def _json(text: str, flag: str) -> Any:
    import msgspec

    from galerne.errors import InvalidInputError

    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise InvalidInputError(f"{flag} is not JSON: {error} (a text has quotes)") from error
