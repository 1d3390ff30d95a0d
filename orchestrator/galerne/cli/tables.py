"""Lists on a terminal: jobs, and the tasks of a plan. Functions from data to rich tables."""

from collections.abc import Sequence

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from galerne.cli.estimated import estimate_table, time_of, tokens_of
from galerne.cli.text import count_text, one_line, seconds_text
from galerne.client import JobSummary
from galerne.messages.plan import TaskSpec
from galerne.planner import Estimate, Plan

_SHOWN_PATH = 7  # tasks of the longest chain; of more the first and the last
_STYLES = {
    "succeeded": "green",
    "failed": "bold red",
    "cancelled": "magenta",
    "budget_exhausted": "bold red",
    "deadline_exceeded": "bold red",
}


def jobs_table(jobs: Sequence[JobSummary], now: float) -> RenderableType:
    """One line a job. `now` is Unix seconds."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), expand=True)
    table.add_column("job", no_wrap=True)
    table.add_column("status", no_wrap=True)
    table.add_column("age", no_wrap=True, justify="right")
    table.add_column("took", no_wrap=True, justify="right")
    table.add_column("goal", no_wrap=True, overflow="ellipsis", ratio=1)
    for job in jobs:
        table.add_row(
            Text(one_line(job.id, 64)),
            Text(f"asking ({job.asks})", style="bold magenta")
            if job.asks
            else Text(job.status, style=_STYLES.get(job.status, "yellow")),
            Text(seconds_text(max(0.0, now - job.submitted_at))),
            Text(seconds_text(job.seconds)),
            Text(one_line(job.goal, 400)),
        )
    return table


def plan_table(plan: Plan, found: Estimate | None = None) -> RenderableType:
    """One row a task, with what it is expected to take; then what was refused, what planning took,
    and the bounds of it all.
    """
    expected = {} if found is None else {task.id: task for task in found.tasks}
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), expand=True)
    table.add_column("task", max_width=16, no_wrap=True, overflow="ellipsis")
    table.add_column("kind", no_wrap=True)
    table.add_column("needs", max_width=20, overflow="fold")
    table.add_column("what", ratio=1, overflow="fold")
    if expected:
        table.add_column("≈tokens", justify="right", no_wrap=True)
        table.add_column("≈time", justify="right", no_wrap=True)
    for task in plan.tasks:
        own = expected.get(task.id)
        table.add_row(
            Text(one_line(task.id, 64)),
            Text(task.kind),
            Text(", ".join(one_line(need, 64) for need in task.needs)),
            Text(_what(task)),
            *([] if own is None else [tokens_of(own), time_of(own)]),
        )
    refused = [
        Text(f"✗ {one_line(item.id or '?', 64)}: {one_line(item.reason, 300)}", style="red")
        for item in plan.rejected
    ]
    tokens = count_text(plan.usage.tokens)
    count = f"{len(plan.tasks)} task{'' if len(plan.tasks) == 1 else 's'}"
    foot = f"{count} · {tokens} tokens for planning" if tokens else count
    bounds = [] if found is None else [Text(""), estimate_table(found)]
    return Group(table, *refused, Text(_graph(plan), style="dim"), Text(foot, style="dim"), *bounds)


def _graph(plan: Plan) -> str:
    """How far the tasks can run beside each other, and what they wait for at the longest."""
    path = [one_line(task, 64) for task in plan.critical_path()]
    shown = path if len(path) <= _SHOWN_PATH else [*path[:3], "…", *path[-3:]]
    return f"at most {plan.width} at once · longest chain of {len(path)}: {' → '.join(shown)}"


def _what(task: TaskSpec) -> str:
    words = one_line(task.instruction, 500)
    if task.tool is None:
        return words
    arguments = msgspec.json.encode(task.args or {}).decode()
    call = one_line(f"{task.tool} {arguments}", 500)
    return f"{call} ({words})" if words else call
