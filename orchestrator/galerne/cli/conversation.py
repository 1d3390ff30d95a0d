"""Conversations on a terminal: the list of sessions, and what was said in one."""

from collections.abc import Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from galerne.cli.text import clean, one_line, seconds_text
from galerne.client import SessionSummary
from galerne.messages.sessions import Said


def sessions_table(sessions: Sequence[SessionSummary], now: float) -> RenderableType:
    """One line a session. `now` is Unix seconds."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), expand=True)
    table.add_column("session", no_wrap=True, overflow="ellipsis", max_width=32)
    table.add_column("turns", no_wrap=True, justify="right")
    table.add_column("age", no_wrap=True, justify="right")
    table.add_column("last goal", no_wrap=True, overflow="ellipsis", ratio=1)
    for one in sessions:
        table.add_row(
            Text(one_line(one.name, 64)),
            Text(str(one.turns)),
            Text(seconds_text(max(0.0, now - one.at))),
            Text(one_line(one.goal, 400)),
        )
    return table


def turns_text(turns: Sequence[Said], now: float) -> str:
    """Each goal after `>`, with its job and age, then its answer, and what it sums up."""
    return "\n\n".join(_turn_text(turn, now) for turn in turns)


def _turn_text(turn: Said, now: float) -> str:
    ago = seconds_text(max(0.0, now - turn.at))
    goal = clean(turn.goal).strip().replace("\n", "\n> ")
    shown = f"> {goal}\n  ({one_line(turn.job, 64)}, {ago} ago)\n\n{clean(turn.answer).strip()}"
    if turn.summary is None:
        return shown
    until = one_line(turn.until or "", 64)
    told = f"  (up to {until}, later jobs are told in short:)\n{clean(turn.summary).strip()}"
    return f"{shown}\n\n{told}"
