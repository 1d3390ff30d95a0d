"""`galerne sessions` and `galerne session show|forget NAME`: conversations of several jobs."""

import argparse
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from galerne.cli import options
from galerne.cli.parsing import Parser, Subparsers, positive

if TYPE_CHECKING:
    from galerne.client import Client, Session


def add(commands: Subparsers) -> None:
    parser = commands.add_parser(
        "sessions",
        help="list conversations",
        description="List the conversations of a tenant, the latest first. `galerne submit"
        " --session NAME GOAL` begins one, or goes on with it.",
        parents=_flags(),
    )
    parser.add_argument(
        "--limit", type=positive, default=20, metavar="N", help="how many (%(default)s)"
    )
    parser.set_defaults(run=run_list)


def add_one(commands: Subparsers) -> None:
    parser = commands.add_parser(
        "session",
        help="show or forget a conversation",
        description="Show what was said in a conversation, or forget it for good.",
        parents=_flags(),
    )
    actions: Subparsers = parser.add_subparsers(
        title="actions", metavar="ACTION", required=True, parser_class=Parser
    )
    _add_action(actions, "show", "show what was said, oldest first", run_show)
    _add_action(
        actions,
        "forget",
        "take what was said away for good",
        run_forget,
        "Its jobs stay; those that are running add their own answers later.",
    )


def _flags() -> list[Parser]:
    return [options.bus(), options.tenant(), options.as_json(), options.common()]


def _add_action(
    actions: Subparsers,
    name: str,
    what: str,
    run: Callable[[argparse.Namespace], int],
    more: str = "",
) -> None:
    parents = [options.again(flags) for flags in _flags()]
    text = f"{what[0].upper()}{what[1:]}. {more}".strip()
    parser = actions.add_parser(name, help=what, description=text, parents=parents)
    parser.add_argument("session", metavar="NAME", help="the session's name")
    parser.set_defaults(run=run)


def run_list(flags: argparse.Namespace) -> int:
    async def doing(client: "Client") -> None:
        from galerne.cli.output import document, draw, note

        found = await client.sessions()
        shown = found[: flags.limit]
        if flags.json:
            document(shown)
        elif shown:
            from galerne.cli.conversation import sessions_table

            draw(sessions_table(shown, time.time()))
            if len(found) > len(shown):
                note(f"there are {len(found) - len(shown)} more: --limit {len(found)}")
        else:
            note(f"tenant {flags.tenant} has no sessions (another tenant's: --tenant NAME)")

    return _run(flags, doing)


def run_show(flags: argparse.Namespace) -> int:
    async def showing(session: "Session") -> None:
        from galerne.cli.output import answer, document

        turns = await session.turns()
        if flags.json:
            document({"session": session.name, "turns": turns})
        else:
            from galerne.cli.conversation import turns_text

            answer(turns_text(turns, time.time()))

    return _run(flags, lambda client: showing(client.session(flags.session)))


def run_forget(flags: argparse.Namespace) -> int:
    async def forgetting(session: "Session") -> None:
        from galerne.cli.output import document, note

        gone = await session.forget()
        if flags.json:
            document({"session": session.name, "forgotten": gone})
        else:
            turns = "1 turn" if gone == 1 else f"{gone} turns"
            note(f"session {session.name} is forgotten, with {turns}")

    return _run(flags, lambda client: forgetting(client.session(flags.session)))


def _run(flags: argparse.Namespace, doing: Callable[["Client"], Awaitable[None]]) -> int:
    from galerne.cli.runner import run_command

    settings = options.settings_of(flags)

    async def connected() -> int:
        from galerne.client import Client

        async with Client.connect(settings=settings.bus, tenant=flags.tenant) as client:
            await doing(client)
        return 0

    return run_command(connected)
