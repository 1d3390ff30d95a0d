"""`galerne doctor`: what a model server really does, and which flag or setting mends it."""

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from galerne.cli import options
from galerne.cli.exits import FAILED, SUCCEEDED
from galerne.cli.parsing import Subparsers, positive

if TYPE_CHECKING:
    from galerne.cli.examining import Target

_DESCRIPTION = """\
Ask a model server a few small questions and judge what it does: key, model, tool calls,
schemas, streams, the rules of its template, its true context, its speed. Each failure names the
flag or the setting that mends it. Without ENDPOINT: every one that the settings name. Exit code:
0 where nothing failed, 1 where something did, 2 for wrong usage."""


def add(commands: Subparsers) -> None:
    parser = commands.add_parser(
        "doctor",
        help="probe a model server, and say what mends what is wrong",
        description=_DESCRIPTION,
        parents=[options.as_json(), options.common()],
    )
    parser.add_argument(
        "address", metavar="ENDPOINT", nargs="?", help="OpenAI-style API, http://host:port/v1"
    )
    parser.add_argument("--model", metavar="NAME", help="as the endpoint knows it")
    parser.add_argument("--key-file", metavar="FILE", type=Path, help="file that holds the key")
    parser.add_argument(
        "--context",
        type=positive,
        default=None,
        metavar="TOKENS",
        help="length of the long prompt (16384); it is most of what is spent",
    )
    parser.add_argument("--quick", action="store_true", help="send no long prompt")
    parser.set_defaults(run=run)


def run(flags: argparse.Namespace) -> int:
    from galerne.cli.examining import targets
    from galerne.cli.runner import run_command
    from galerne.errors import InvalidInputError

    if flags.quick and flags.context:
        raise InvalidInputError("--quick sends no long prompt: leave it or --context out")
    wanted = targets(options.settings_of(flags), flags.address, flags.model, flags.key_file)
    return run_command(partial(_run, flags, wanted))


async def _run(flags: argparse.Namespace, wanted: "list[Target]") -> int:
    import secrets
    from datetime import UTC, datetime

    from galerne.cli.examined import Page, report_document
    from galerne.cli.output import document, note
    from galerne.models.catalogue import load_setting
    from galerne.models.doctor import Subject, examine, most_tokens
    from galerne.models.doctor.patient import CONTEXT

    catalogue = load_setting(options.settings_of(flags).models.catalogue)
    page = None if flags.json else Page()
    documents: list[object] = []
    failed = False
    for target in wanted:
        subject = Subject(
            settings=target.settings,
            catalogue=catalogue,
            today=datetime.now(UTC).date(),
            salt=secrets.token_hex(3),
            named=target.named,
            context=None if flags.quick else flags.context or CONTEXT,
        )
        note(f"spends at most {most_tokens(subject):,} tokens at {target.settings.endpoint}")
        if page is None:
            report = await examine(subject)
        else:
            opening = partial(page.open, target.roles)
            report = await examine(subject, on_patient=opening, on_finding=page.line)
            page.close(report)
        documents.append(report_document(report, target.roles))
        failed = failed or report.failures > 0
    if page is None:
        document(documents)
    return FAILED if failed else SUCCEEDED
