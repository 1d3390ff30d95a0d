"""`galerne quarantine list|show|requeue|drop`: the messages that nobody could use."""

import argparse
import re
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

from galerne.cli import options
from galerne.cli.parsing import Parser, Subparsers, positive

if TYPE_CHECKING:
    from galerne.client import Quarantine, QuarantineRecord
    from galerne.errors import GalerneError

Doing = Callable[["Quarantine"], Awaitable[int]]

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def add(commands: Subparsers) -> None:
    parser = commands.add_parser(
        "quarantine",
        help="list, show, requeue or drop messages that nobody could use",
        description="Messages that nobody could use are kept whole with the reason. Look at them,"
        " send a submission or a command again, or drop them.",
        parents=_flags(),
    )
    actions: Subparsers = parser.add_subparsers(
        title="actions", metavar="ACTION", required=True, parser_class=Parser
    )
    _add_list(actions)
    _add_show(actions)
    _add_requeue(actions)
    _add_drop(actions)


def _flags() -> list[Parser]:
    return [options.bus(), options.as_json(), options.common()]


def _action(actions: Subparsers, name: str, what: str, more: str = "") -> Parser:
    parents = [options.again(flags) for flags in _flags()]
    text = f"{what[0].upper()}{what[1:]}. {more}".strip()
    return actions.add_parser(name, help=what, description=text, parents=parents)


def _add_list(actions: Subparsers) -> None:
    parser = _action(actions, "list", "list the newest records, newest first")
    parser.add_argument(
        "--limit", type=positive, default=20, metavar="N", help="how many (%(default)s)"
    )
    parser.set_defaults(run=run_list)


def _add_show(actions: Subparsers) -> None:
    parser = _action(
        actions,
        "show",
        "show a record with its bytes",
        "Bytes are shown as text, or as a hex dump where they are none; with --json they are"
        " base64.",
    )
    parser.add_argument("number", type=positive, metavar="N", help="the record's number")
    parser.add_argument(
        "--data", metavar="FILE", help="write the bytes as they are into FILE (-: stdout) instead"
    )
    parser.set_defaults(run=run_show)


def _add_requeue(actions: Subparsers) -> None:
    parser = _action(
        actions,
        "requeue",
        "send a submission or a command again, and drop its record",
        "It is checked first. Messages of other kinds are not sent again; the refusal says what"
        " to do instead.",
    )
    parser.add_argument("number", type=positive, metavar="N", help="the record's number")
    parser.add_argument(
        "--data", metavar="FILE", help="send the bytes of FILE (-: stdin) instead of the record's"
    )
    parser.set_defaults(run=run_requeue)


def _add_drop(actions: Subparsers) -> None:
    parser = _action(
        actions,
        "drop",
        "delete records for good",
        "Name them, or say which: --origin and --older-than may be given together.",
    )
    parser.add_argument("numbers", type=positive, nargs="*", metavar="N", help="their numbers")
    parser.add_argument("--all", action="store_true", help="all that are there now")
    parser.add_argument("--origin", metavar="NAME", help="those from submit, command, ev, tool, …")
    parser.add_argument(
        "--older-than", type=age, metavar="AGE", help="those kept for longer, as 90s, 30m, 12h, 7d"
    )
    parser.set_defaults(run=run_drop)


def age(text: str) -> int:
    """`90s`, `30m`, `12h`, `7d` → seconds."""
    found = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no age: write 90s, 30m, 12h or 7d")
    return int(found[1]) * _SECONDS[found[2]]


def run_list(flags: argparse.Namespace) -> int:
    async def doing(quarantine: "Quarantine") -> int:
        from galerne.cli.output import document, draw, note

        found = await quarantine.newest(flags.limit + 1)
        entries = found[: flags.limit]
        if flags.json:
            document(entries)
        elif entries:
            from galerne.cli.quarantined import quarantine_table

            draw(quarantine_table(entries, time.time()))
            if len(found) > len(entries):
                note(f"there are older ones: --limit {10 * flags.limit}")
        else:
            note("the quarantine is empty")
        return 0

    return _run(flags, doing)


def run_show(flags: argparse.Namespace) -> int:
    async def doing(quarantine: "Quarantine") -> int:
        from galerne.cli.output import answer, document

        record = await quarantine.get(flags.number)
        if flags.data is not None:
            _write(flags.data, record)
        elif flags.json:
            document(record)
        else:
            from galerne.cli.quarantined import record_text

            answer(record_text(record))
        return 0

    return _run(flags, doing)


def run_requeue(flags: argparse.Namespace) -> int:
    data = None if flags.data is None else _content(flags.data)

    async def doing(quarantine: "Quarantine") -> int:
        from galerne.cli.output import document, note

        subject = await quarantine.requeue(flags.number, data)
        if flags.json:
            document({"number": flags.number, "requeued": subject})
        else:
            note(f"record {flags.number} was sent to {subject} again and dropped")
        return 0

    return _run(flags, doing)


def run_drop(flags: argparse.Namespace) -> int:
    from galerne.errors import InvalidInputError

    filtered = flags.origin is not None or flags.older_than is not None
    if bool(flags.numbers) + flags.all + filtered != 1:
        raise InvalidInputError(
            "say which records to drop: their numbers, or --origin and --older-than, or --all"
        )

    async def doing(quarantine: "Quarantine") -> int:
        from galerne.cli.output import document, note

        if flags.numbers:
            dropped = await _drop_each(quarantine, flags.numbers)
        else:
            before = None if flags.older_than is None else time.time() - flags.older_than
            dropped = await quarantine.clear(origin=flags.origin, before=before)
        if flags.json:
            document({"dropped": dropped})
        else:
            note(f"{dropped} record{' was' if dropped == 1 else 's were'} dropped")
        return 0

    return _run(flags, doing)


async def _drop_each(quarantine: "Quarantine", numbers: list[int]) -> int:
    """Drop all that are there. Raises NotFoundError afterwards if one was not."""
    from galerne.errors import NotFoundError

    missing: GalerneError | None = None
    wanted = dict.fromkeys(numbers)
    for number in wanted:
        try:
            await quarantine.drop(number)
        except NotFoundError as error:
            missing = missing or error
    if missing is not None:
        raise missing
    return len(wanted)


def _run(flags: argparse.Namespace, doing: Doing) -> int:
    from galerne.cli.runner import run_command

    settings = options.settings_of(flags)

    async def connected() -> int:
        from galerne.client import Client

        async with Client.connect(settings=settings.bus) as client:
            return await doing(client.quarantine)

    return run_command(connected)


def _write(file: str, record: "QuarantineRecord") -> None:
    """The bytes into a file or to stdout. Raises InvalidInputError."""
    from galerne.errors import InvalidInputError

    if file != "-":
        try:
            Path(file).write_bytes(record.data)
        except OSError as error:
            raise InvalidInputError(f"{file} cannot be written: {error.strerror}") from error
        return
    if sys.stdout.isatty():
        raise InvalidInputError(
            "a terminal would obey what is in the bytes: send them on (| less, > FILE), or leave"
            " --data out"
        )
    sys.stdout.buffer.write(record.data)
    sys.stdout.flush()


def _content(file: str) -> bytes:
    """A file's bytes, or those of stdin. Raises InvalidInputError."""
    from galerne.errors import InvalidInputError

    if file == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise InvalidInputError(f"{file} cannot be read: {error.strerror}") from error
