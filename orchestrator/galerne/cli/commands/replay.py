"""`galerne replay FILE…`: would today's code decide a recorded job in the same way?"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from galerne.cli import options
from galerne.cli.exits import FAILED, SUCCEEDED
from galerne.cli.parsing import Subparsers

if TYPE_CHECKING:
    from galerne.client.export import Recording


def add(commands: Subparsers) -> None:
    parser = commands.add_parser(
        "replay",
        help="decide exported jobs again, offline, and show what differs",
        description="Decide jobs again that `galerne export` wrote, offline, and print where"
        " today's code would write something else, a line for each difference. Ends with 0 without"
        " differences, with 1 otherwise.",
        parents=[options.as_json(), options.common()],
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="an exported job")
    parser.add_argument(
        "--show", action="store_true", help="draw each job as `galerne show` does instead"
    )
    parser.set_defaults(run=run)


def run(flags: argparse.Namespace) -> int:
    from galerne.client.export import read_export

    recordings = [(str(file), read_export(file)) for file in flags.files]
    if flags.show:
        _show([recording for _, recording in recordings], as_json=flags.json)
        return SUCCEEDED
    return _compare(recordings, as_json=flags.json)


def _compare(recordings: "list[tuple[str, Recording]]", *, as_json: bool) -> int:
    from galerne.cli.output import answer, document, note
    from galerne.cli.text import one_line
    from galerne.core.replay import replay

    found = [(file, recording, replay(recording.entries)) for file, recording in recordings]
    if as_json:
        document(
            [
                {
                    "file": file,
                    "job": recording.header.job,
                    "facts": len(recording.entries),
                    "differences": [
                        {"text": str(difference), "difference": difference}
                        for difference in differences
                    ],
                }
                for file, recording, differences in found
            ]
        )
    else:
        for file, recording, differences in found:
            for difference in differences:
                answer(one_line(f"{file}: {difference}"))
            if not differences:
                note(f"{file}: {len(recording.entries)} facts, no difference")
    return FAILED if any(differences for _, _, differences in found) else SUCCEEDED


def _show(recordings: "list[Recording]", *, as_json: bool) -> None:
    from galerne.cli.output import document, draw
    from galerne.core.replay import state_of
    from galerne.core.view import view

    views = [
        view(
            state_of(recording.entries),
            recording.header.job,
            recording.header.tenant,
            recording.header.at,
        )
        for recording in recordings
    ]
    if as_json:
        document(views)
        return
    from galerne.cli.tree import job_tree

    for one in views:
        draw(job_tree(one, result=True))
