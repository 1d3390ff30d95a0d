"""A job as a tree on a terminal: a function from a `JobView` to something that rich can print.

    Count the words in README.md and in docs/protocol.md
    ✓ plan-1  plan    3 tasks                                    0.4s    812
    ✓ 1       tool    text_stats                                 0.1s
    ● 3       tool    64% page 9 of 14 · fetch_all               9.0s
    ● 2       agent   Compare the two counts      ← 1    try 2   1.2s    210
    ? 4       tool    book_table                  ← 2    0.1s
    ○ answer  answer
    ? 4.1 asks for leave: book_table({"people":4})
      galerne approve j-1 4.1  (or: deny … --why TEXT)
    ● running · 2 of 6 tasks · 2.1s · 1022 tokens · $0.0031 · j-1
      calls 3/7 · $0.0031/0.05

Every mark is a character of its own, so that the tree also reads without colours. Nothing in a
view is trusted: all of it is cleaned, and none of it is read as markup.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from galerne.cli.questions import asked_text, name_of, settle_text
from galerne.cli.spending import limits_text, model_lines, models_text, moved_text
from galerne.cli.text import (
    count_text,
    money_text,
    one_line,
    partial_text,
    result_text,
    seconds_text,
)
from galerne.core.grounding import remark
from galerne.core.view import JobView, TaskStatus, TaskView
from galerne.messages.facts import Moved
from galerne.messages.ids import TaskId

_MARKS: dict[str, tuple[str, str]] = {
    "queued": ("○", "dim"),
    "waiting": ("○", "dim"),
    "ready": ("◎", "cyan"),
    "running": ("●", "yellow"),
    "succeeded": ("✓", "green"),
    "failed": ("✗", "bold red"),
    "cancelled": ("⊘", "magenta"),
    "dropped": ("⊖", "dim"),
    "asking": ("?", "bold magenta"),
    "in doubt": ("!", "bold red"),
    "budget_exhausted": ("◐", "bold red"),
    "deadline_exceeded": ("◔", "bold red"),
}
_IMPORTANCE: tuple[TaskStatus, ...] = (
    "asking",
    "running",
    "failed",
    "ready",
    "waiting",
    "succeeded",
    "cancelled",
    "dropped",
)
"""Who stays on the screen where not everybody fits; of the finished ones the latest."""
_HEAD_AND_FOOT = 3
"""Lines beside the tasks: the goal, the summary, and one that stays free for the cursor."""
_LEAST_ROOM = 3
MOST_ELEMENTS = 4
"""Elements of a list that are all shown; of more, those that run or have failed."""
_MOVES = 6
"""Moves to larger models that stand under the tree of a job that was followed; `show` has all."""


def job_tree(view: JobView, *, height: int | None = None, result: bool = False) -> RenderableType:
    """The whole tree. `height` lines at most (None: no limit); with `result` what came of it."""
    tasks = condensed(view.tasks)
    failed = [task for task in tasks if _has_fault(task)]
    doubtful = {ask.task for ask in view.asks if ask.what == "doubt"}
    lines: list[RenderableType] = [Text(one_line(view.goal) or view.id, style="bold", **_ONE_LINE)]
    if height is None:
        moves = _moves(view, None if result else _MOVES)
        lines += [_table(tasks, doubtful), *moves, *map(_error, failed), *_notices(view)]
        lines += _asks(view, len(view.asks))
    else:
        room = max(_LEAST_ROOM, height - _HEAD_AND_FOOT - bool(limits_text(view)))
        asks = _asks(view, room // 8, **_ONE_LINE)
        errors = failed[: (room - len(asks)) // 4]
        moving = [task.moves[-1] for task in view.tasks if task.moves and task.status == "running"]
        moves = [_moved(move, **_ONE_LINE) for move in moving[: room // 4]]
        shown, hidden = fit(tasks, room - len(errors) - len(asks) - len(moves))
        lines.append(_table(shown, doubtful))
        lines += [_folded(hidden)] if hidden else []
        lines += [*moves, *(_error(task, **_ONE_LINE) for task in errors), *asks]
    lines.append(_summary(view, {} if height is None else _ONE_LINE))
    if limits := limits_text(view):
        lines.append(Text(f"  {limits}", style="dim", **_ONE_LINE))
    if result:
        lines += [*_models(view), *_result(view)]
    return Group(*lines)


_ONE_LINE: dict[str, Any] = {"no_wrap": True, "overflow": "ellipsis"}


def condensed(tasks: Sequence[TaskView]) -> list[TaskView]:
    """Without the elements of long lists that need no look; their list says how many there are."""
    sizes = Counter(task.parent for task in tasks if task.parent and _is_element(task))
    quiet = {"succeeded", "waiting", "ready", "cancelled", "dropped"}
    shown: list[TaskView] = []
    for task in tasks:
        if size := sizes.get(task.id, 0):
            settled = sum(one.parent == task.id and one.status == "succeeded" for one in tasks)
            words = f"{settled} of {size}: {describe(task)}"
            shown.append(msgspec.structs.replace(task, instruction=words, tool=None))
        elif task.status not in quiet or not task.parent or sizes[task.parent] <= MOST_ELEMENTS:
            shown.append(task)
    return shown


def _is_element(task: TaskView) -> bool:
    """Whether it is of the list that its parent is done for, by the form of its id."""
    return task.id.rpartition("--")[2].isdecimal() and task.kind != "answer"


def fit(tasks: Sequence[TaskView], room: int) -> tuple[list[TaskView], list[TaskView]]:
    """The tasks for `room` lines, in plan order, and those that one more line stands for."""
    if len(tasks) <= room:
        return list(tasks), []
    places = range(len(tasks))
    finished = {"succeeded", "cancelled", "dropped"}

    def importance(place: int) -> tuple[int, int]:
        status = tasks[place].status
        return _IMPORTANCE.index(status), -place if status in finished else place

    kept = set(sorted(places, key=importance)[: max(0, room - 1)])
    shown = [tasks[place] for place in places if place in kept]
    return shown, [tasks[place] for place in places if place not in kept]


def _table(tasks: Sequence[TaskView], doubtful: Collection[TaskId]) -> Table:
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(width=1)
    table.add_column(max_width=12, **_ONE_LINE)
    table.add_column(max_width=6, style="dim", **_ONE_LINE)
    table.add_column(ratio=1, **_ONE_LINE)
    table.add_column(max_width=14, style="dim", **_ONE_LINE)
    table.add_column(justify="right", **_ONE_LINE)
    table.add_column(justify="right", style="dim", **_ONE_LINE)
    for task in tasks:
        in_doubt = task.status == "asking" and task.id in doubtful
        mark, style = _MARKS["in doubt" if in_doubt else task.status]
        table.add_row(
            Text(mark, style=style),
            Text(one_line(task.id, 64)),
            Text(one_line(task.kind, 16)),
            Text(describe(task)),
            Text(" ".join(_remarks(task))),
            Text(seconds_text(task.seconds)),
            Text(count_text(task.usage.tokens)),
        )
    return table


def describe(task: TaskView) -> str:
    """What the task does, in one line: its tool, its instruction, or what it is for; and before
    that how far it is.
    """
    words = one_line(task.instruction, 400)
    if task.progress and task.status == "running":
        doing = one_line(task.tool or "", 64) or words
        return f"{one_line(task.progress, 300)} · {doing}"
    if task.tool is not None:
        tool = one_line(task.tool, 64)
        return f"{tool}: {words}" if words else tool
    if words:
        return words
    return {"plan": "breaks the goal into tasks", "answer": "writes the answer"}.get(task.kind, "")


def _remarks(task: TaskView) -> list[str]:
    needs = "← " + ",".join(one_line(need, 64) for need in task.needs) if task.needs else ""
    tries = task.attempt - task.resumed
    attempt = f"try {tries}" if tries > 1 else ""
    larger = f"↑{len(task.moves)}" if task.moves else ""
    instead = f"for {one_line(task.stands_for, 64)}" if task.stands_for else ""
    return [remark for remark in (attempt, larger, instead, needs) if remark]


def _folded(tasks: Sequence[TaskView]) -> Text:
    counts = Counter(task.status for task in tasks)
    parts = ", ".join(f"{counts[status]} {status}" for status in _IMPORTANCE if counts[status])
    return Text(f"… and {len(tasks)} more: {parts}", style="dim", **_ONE_LINE)


def _has_fault(task: TaskView) -> bool:
    return bool(task.again or (task.error and task.status != "dropped"))


def _error(task: TaskView, **layout: Any) -> Text:
    if task.again:
        text = f"↻ {one_line(task.id, 64)} is tried again: {one_line(task.again)}"
        return Text(text, style="yellow", **layout)
    text = f"✗ {one_line(task.id, 64)}: {one_line(task.error or '')}"
    return Text(text, style="red", **layout)


def _moved(move: Moved, **layout: Any) -> Text:
    return Text(f"↑ {moved_text(move)}", style="yellow", **layout)


def _moves(view: JobView, most: int | None) -> list[RenderableType]:
    moves = [move for task in view.tasks for move in task.moves]
    lines: list[RenderableType] = [_moved(move) for move in moves[:most]]
    if len(moves) > len(lines):
        more = f"↑ … and {len(moves) - len(lines)} more moves: galerne show {view.id}"
        lines.append(Text(more, style="dim", **_ONE_LINE))
    return lines


def _models(view: JobView) -> list[RenderableType]:
    """What each model has done, and what one alone had cost."""
    lines = model_lines(view.usage)
    if len(lines) > 1:
        lines.append(models_text(view.usage, view.would_have))
    return [Text(f"  {line}", style="dim") for line in lines]


def _notices(view: JobView) -> list[RenderableType]:
    """What a task's result is to be read with."""
    return [
        Text(f"! {one_line(task.id, 64)}: {one_line(notice)}", style="yellow")
        for task in view.tasks
        for notice in task.notices
    ]


def _asks(view: JobView, most: int, **layout: Any) -> list[RenderableType]:
    """Two lines for each open question: what is asked, and the command that settles it."""
    lines: list[RenderableType] = []
    for ask in view.asks[:most]:
        mark, style = _MARKS["in doubt" if ask.what == "doubt" else "asking"]
        lines.append(Text(f"{mark} {asked_text(ask)}", style=style, **layout))
        lines.append(Text(f"  {settle_text(view.id, name_of(ask), ask.what)}", **layout))
    if len(view.asks) > most:
        more = f"  … and {len(view.asks) - most} more questions: galerne approvals"
        lines.append(Text(more, style="dim", **_ONE_LINE))
    return lines


def _summary(view: JobView, layout: dict[str, Any]) -> Text:
    mark, style = _MARKS[view.status]
    status: str = view.status
    if status == "running" and waits_for_people(view):
        (mark, style), status = _MARKS["asking"], "waits for a person"
    done = sum(task.status == "succeeded" for task in view.tasks)
    tokens = count_text(view.usage.tokens)
    parts = [
        f"{mark} {status}",
        f"{done} of {len(view.tasks)} tasks" if view.tasks else "",
        seconds_text(view.seconds),
        f"{tokens} tokens" if tokens else "",
        money_text(view.usage.usd),
        one_line(view.id, 64),
    ]
    return Text(" · ".join(part for part in parts if part), style=style, **layout)


def waits_for_people(view: JobView) -> bool:
    """Whether nothing moves before somebody answers."""
    moving = {"running", "ready"}
    return bool(view.asks) and not any(task.status in moving for task in view.tasks)


def _doubt(view: JobView) -> list[RenderableType]:
    if not view.unsupported:
        return []
    return [Text(f"! {one_line(remark(view.unsupported), 300)}", style="yellow")]


def _result(view: JobView) -> list[RenderableType]:
    match view.status:
        case "succeeded":
            return [Text(""), Text(result_text(view)), *_doubt(view)]
        case "failed" | "cancelled" | "budget_exhausted" | "deadline_exceeded":
            why = Text(one_line(view.error or view.status), style="red")
            found = partial_text(view)
            return [Text(""), why, *([Text("\nwhat it has found:"), Text(found)] if found else [])]
        case _:
            return []
