"""`galerne submit GOAL`: hand a job to a fleet."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from galerne.cli import options
from galerne.cli.limits import budget_of, limits, planning, planning_of
from galerne.cli.parsing import Subparsers, names

if TYPE_CHECKING:
    from galerne.settings import Settings


def add(commands: Subparsers) -> None:
    parser = commands.add_parser(
        "submit",
        help="hand a job to a fleet and print its id",
        description="Hand a job to a fleet. When the id is printed the job is stored and will"
        " be done, whatever dies.",
        parents=[
            options.bus(),
            options.tenant(),
            options.session(),
            options.as_json(),
            limits(),
            planning(),
            options.common(),
        ],
    )
    parser.add_argument("goal", nargs="?", help="what to do, in words")
    parser.add_argument("--wait", action="store_true", help="follow it and print its answer")
    parser.add_argument("--key", help="idempotency key: the same key is the same job")
    parser.add_argument(
        "--tools", type=names, metavar="A,B", help="the only tools that it may call"
    )
    parser.add_argument(
        "--priority",
        choices=("high", "normal", "low"),
        default="normal",
        help="which queue its tasks wait in (%(default)s)",
    )
    parser.add_argument(
        "--input",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an input: NAME=TEXT, NAME=@FILE (JSON where it ends in .json, else text; a large"
        " or binary file is uploaded), or @FILE.json with an object of several; repeatable",
    )
    parser.set_defaults(run=run)


def run(flags: argparse.Namespace) -> int:
    from galerne.cli.runner import run_command

    settings = options.settings_of(flags)
    return run_command(lambda: _submit(flags, settings))


async def _submit(flags: argparse.Namespace, settings: "Settings") -> int:
    from galerne.cli.output import answer, document
    from galerne.cli.submitting import Order, check, submit, submit_and_follow
    from galerne.client import Client

    order = Order(
        tenant=flags.tenant,
        key=flags.key,
        inputs=inputs_of(flags.input, settings.bus.inline),
        tools=flags.tools,
        priority=flags.priority,
        budget=budget_of(flags),
        deadline=flags.deadline,
        approve=tuple(flags.approve),
        **planning_of(flags),
        session=flags.session,
    )
    check(order, settings)
    if flags.wait:
        return await submit_and_follow(order, settings, as_json=flags.json)
    async with Client.connect(settings=settings.bus, tenant=order.tenant) as client:
        job = await submit(client, order)
    if flags.json:
        document({"job": job.id})
    else:
        answer(job.id)
    return 0


def inputs_of(given: list[str], inline: int = sys.maxsize) -> dict[str, Any]:
    """The `--input` flags as one object; a file to be uploaded is a Path.

    That is every file of more than `inline` bytes and every one that is no text. Raises
    InvalidInputError.
    """
    from galerne.errors import InvalidInputError

    inputs: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if text.startswith("@"):
            several = _content(text[1:], sys.maxsize)
            if not isinstance(several, dict):
                raise InvalidInputError(f"--input {text[:80]}: it must hold a JSON object")
            inputs.update(several)  # pyright: ignore[reportUnknownArgumentType] - JSON's keys are text
        elif not (name and equals):
            raise InvalidInputError(f"--input {text[:80]!r} is not NAME=VALUE, and not @FILE.json")
        else:
            inputs[name] = _content(value[1:], inline) if value.startswith("@") else value
    return inputs


def _content(file: str, inline: int) -> Any:
    """A file's JSON, its text, or its path. Raises InvalidInputError."""
    import msgspec

    from galerne.errors import InvalidInputError

    path = Path(file)
    try:
        if path.stat().st_size > inline:
            return path
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidInputError(f"cannot read {file}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        if path.suffix != ".json":
            return path
        raise InvalidInputError(f"{file} is not text in UTF-8") from error
    if not file.endswith(".json"):
        return text
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise InvalidInputError(f"{file} is not JSON: {error}") from error
