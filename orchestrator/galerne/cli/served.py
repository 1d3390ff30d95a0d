"""The tools that are served, as a list: functions from announcements to rows and a rich table."""

from collections.abc import Sequence
from typing import Any

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from galerne.cli.text import one_line
from galerne.core.tool_versions import offers
from galerne.messages.tools import Approve, Effect, ToolsPresent
from galerne.tools.schema import signature_line

_EFFECTS = {"pure": "green", "idempotent": "yellow", "once": "bold red"}
_APPROVALS = {"never": "", "sometimes": "may ask", "always": "asks"}


class ServingWorker(msgspec.Struct, frozen=True):
    """A worker of a tool: how many calls, of all its tools, it is at and takes at once."""

    name: str
    active: int
    capacity: int


class ServedTool(msgspec.Struct, frozen=True):
    """One version of a tool. `preferred`: the one that who begins now is told.

    `call` is the schema in one line, `timeout` in seconds.
    """

    name: str
    version: str
    preferred: bool
    effect: Effect
    approve: Approve
    timeout: float
    call: str
    description: str
    route: str
    parameters: dict[str, Any]
    workers: tuple[ServingWorker, ...]


def served(present: Sequence[ToolsPresent]) -> list[ServedTool]:
    """By name, the preferred version of each first."""
    workers = {
        said.worker: ServingWorker(said.worker, said.active, said.capacity) for said in present
    }
    rows: list[ServedTool] = []
    for offer in offers(present):
        spec = offer.spec
        rows.append(
            ServedTool(
                name=spec.name,
                version=spec.version,
                preferred=not rows or rows[-1].name != spec.name,
                effect=spec.effect,
                approve=spec.approve,
                timeout=spec.timeout,
                call=_signature(spec.name, spec.parameters),
                description=spec.description,
                route=spec.route,
                parameters=spec.parameters,
                workers=tuple(workers[name] for name in offer.workers),
            )
        )
    return rows


def _signature(name: str, parameters: dict[str, Any]) -> str:
    """The schema in one line; one that is none (nobody has judged it) is told as such."""
    try:
        return signature_line(name, parameters)
    except (AttributeError, TypeError, KeyError, RecursionError):
        return f"{name}(?)"


def served_table(tools: Sequence[ServedTool]) -> RenderableType:
    """A row for each version of a tool, and a line for each worker."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), expand=True)
    table.add_column("tool", overflow="fold", ratio=1)
    table.add_column("version", no_wrap=True, max_width=10, overflow="ellipsis")
    table.add_column("effect", no_wrap=True)
    table.add_column("person", no_wrap=True)
    table.add_column("workers", justify="right", no_wrap=True)
    table.add_column("load", justify="right", no_wrap=True)
    for tool in tools:
        table.add_row(
            _call(tool),
            Text(one_line(tool.version, 64)),
            Text(tool.effect, style=_EFFECTS[tool.effect]),
            Text(_APPROVALS[tool.approve], style="magenta"),
            Text(str(len(tool.workers))),
            Text(_load(tool.workers)),
        )
    workers = {worker.name: worker for tool in tools for worker in tool.workers}
    lines = [
        Text(f"{one_line(name, 64)}: at {one.active} of {one.capacity} calls", style="dim")
        for name, one in sorted(workers.items())
    ]
    return Group(table, Text(""), *lines)


def _call(tool: ServedTool) -> Text:
    """`look(word: string)`; that of a version which nobody new is told stands back."""
    name, bracket, rest = one_line(tool.call, 400).partition("(")
    text = Text(name, style="bold").append(f"{bracket}{rest}", style="not bold")
    if not tool.preferred:
        text.stylize("dim")
        text.append(" (older)", style="dim")
    return text


def _load(workers: Sequence[ServingWorker]) -> str:
    return f"{sum(one.active for one in workers)}/{sum(one.capacity for one in workers)}"
