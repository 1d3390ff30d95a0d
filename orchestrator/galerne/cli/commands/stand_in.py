"""`galerne stand-in`: the stand-in model server, as a process of its own."""

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from galerne.cli import options
from galerne.cli.parsing import Subparsers, not_negative, port, positive

if TYPE_CHECKING:
    from galerne.cli.runner import Stopping


def add(commands: Subparsers) -> None:
    parser = commands.add_parser(
        "stand-in",
        help="serve the stand-in model server (rule-based, no LLM)",
        description="Serve an OpenAI-style API that follows rules and has no LLM: for trying"
        " Galerne out and for tests. Its first line is its URL.",
        parents=[options.common("info")],
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (%(default)s)")
    parser.add_argument(
        "--port", type=port, default=8089, help="0: a free one (%(default)s by default)"
    )
    parser.add_argument(
        "--pace", type=not_negative, default=0.0, metavar="N", help="tokens a second; 0: at once"
    )
    parser.add_argument(
        "--latency", type=not_negative, default=0.0, metavar="S", help="seconds before an answer"
    )
    parser.add_argument(
        "--faults",
        default="",
        metavar="LIST",
        help="such as 429:every=5,cut:every=7:role=executor,cannot:model=mistral-7b; kinds are"
        " 429, 500, cut, malformed_call, slow, truncate and cannot",
    )
    parser.add_argument(
        "--ledger", type=Path, metavar="FILE", help="append a line for every request to it"
    )
    parser.add_argument(
        "--key-file", metavar="FILE", help="demand the key that is the one line of FILE"
    )
    parser.add_argument("--parent", type=positive, help=argparse.SUPPRESS)
    parser.set_defaults(run=run)


def run(flags: argparse.Namespace) -> int:
    from galerne.cli.runner import run_service

    return run_service(partial(_serve, flags))


async def _serve(flags: argparse.Namespace, stopping: "Stopping") -> int:
    from galerne.cli.output import answer
    from galerne.cli.runner import stopping_with
    from galerne.models.keys import key_of
    from galerne.models.standin import StandIn, StandInSettings, parse_faults
    from galerne.settings import RoleSettings

    settings = StandInSettings(
        pace=flags.pace, latency=flags.latency, faults=parse_faults(flags.faults)
    )
    key = key_of(RoleSettings(api_key_file=flags.key_file)) or None
    stand_in = StandIn(settings, host=flags.host, port=flags.port, ledger=flags.ledger, key=key)
    async with stopping_with(flags.parent, stopping), stand_in:
        answer(f"{stand_in.url} stand-in model server: rule-based, no LLM")
        await stopping.event.wait()
    return 0
