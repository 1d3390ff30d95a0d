"""What a plan will take, on a terminal and as JSON: functions from an estimate to text."""

from collections.abc import Callable

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from galerne.cli.text import count_text, money_text, one_line, seconds_text
from galerne.core.budget import Prices
from galerne.models.catalogue import load_setting
from galerne.models.rungs import places
from galerne.planner import Bounds, Costs, Estimate, TaskEstimate, costs_of
from galerne.settings import Settings

_NO_USEFUL = 1e9
"""Tokens above which a bound tells nobody anything: the limits of lists and nested plans alone."""


def costs_by(settings: Settings) -> Costs:
    """Prices, contexts and speeds of the planner's model, the executor's and those above it."""
    catalogue = load_setting(settings.models.catalogue)
    planner, executor = settings.planner, settings.executor
    above = tuple(
        costs_of(place.role, catalogue, _with_limit(place.prices, place.role.max_tokens))
        for place in places(settings, catalogue)
    )
    return Costs(costs_of(planner, catalogue), costs_of(executor, catalogue), above)


def _with_limit(prices: Prices, max_tokens: int) -> Prices:
    return msgspec.structs.replace(prices, max_tokens=max_tokens)


def tokens_of(task: TaskEstimate) -> str:
    """What one task, or one element of a list, is expected to take: `1.2k`."""
    expected = sum(spend.tokens.expected for spend in task.models.values())
    return count_text(round(expected)) or "-"


def time_of(task: TaskEstimate) -> str:
    return seconds_text(task.seconds.expected)


def estimate_table(found: Estimate) -> RenderableType:
    """The three cases in columns: time, tokens by model, money; then what they rest on."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), expand=True)
    table.add_column("before anything is spent", ratio=1, no_wrap=True, overflow="ellipsis")
    for heading in ("at least", "expected", "at most"):
        table.add_column(heading, justify="right", no_wrap=True)
    bounded = found.total.tokens.upper <= _NO_USEFUL
    table.add_row("time, on the longest chain", *_cells(found.seconds, seconds_text, bounded))
    table.add_row("model calls", *_cells(found.total.calls, _count, bounded))
    table.add_row("tokens", *_cells(found.total.tokens, _count, bounded))
    if len(found.models) > 1:
        for name, spend in found.models.items():
            table.add_row(Text(f"  {one_line(name, 64)}"), *_cells(spend.tokens, _count, bounded))
    table.add_row("money", *_cells(found.total.usd, _money, bounded))
    if found.alone is not None:
        name = one_line(found.alone_on, 40)
        table.add_row(Text(f"  all on {name}"), *_cells(found.alone, _money, bounded))
    chain = " → ".join(one_line(task, 64) for task in found.path)
    lines = [f"expected chain: {chain}"]
    lines += [f"{one_line(task.id, 64)}: {task.note}" for task in found.tasks if task.note]
    if not bounded:
        lines.append("open: limits alone allow over 1,000,000,000 tokens; give the job a budget")
    lines += [f"assumed: {one}" for one in found.assumed]
    lines.append(f"not in it: {'; '.join(found.open)}")
    return Group(table, *(Text(line, style="dim", overflow="fold") for line in lines))


def _cells(bounds: Bounds, text: Callable[[float], str], bounded: bool) -> list[str]:  # noqa: FBT001 - of one line each
    return [text(bounds.lower), text(bounds.expected), text(bounds.upper) if bounded else "open"]


def _count(number: float) -> str:
    return count_text(round(number)) or "0"


def _money(usd: float) -> str:
    return money_text(usd) or "$0"
