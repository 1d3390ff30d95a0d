"""A goal → the lines of a plan, always the same for the same goal and tools.

Each clause that stands alone becomes a task of its own; one that works on earlier numbers becomes
a task that needs theirs. A plan asked for again after a crash leaves out what is already planned.
A task that was rejected for a tool is written again without that tool, and says so.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from galerne.messages.chat import ChatRequest
from galerne.messages.ids import TaskId
from galerne.messages.plan import TaskSpec
from galerne.models.standin.answers import first_line
from galerne.models.standin.asks import ANSWER
from galerne.models.standin.clauses import (
    Adjust,
    Ask,
    Call,
    Clause,
    Combine,
    Compare,
    Compute,
    Count,
    CountEach,
    Dependent,
    ListFiles,
    Rank,
    ReadFile,
    Report,
    Search,
    Unknown,
)
from galerne.models.standin.following import earlier_goals, follow_up
from galerne.models.standin.grammar import read_clauses
from galerne.models.standin.phrasing import phrase
from galerne.models.standin.prompts import json_lines, listed_tools, section

MAX_TASKS = 200
"""Tasks of one plan; more would be a goal that nobody typed."""
LONGEST_INSTRUCTION = 2000
"""Characters of a goal that is handed on unread."""

Planned = tuple[Clause, TaskSpec]
Key = tuple[str, str, bytes, tuple[str, ...]]


def plan_lines(request: ChatRequest) -> str:
    """The planner's answer: one JSON object a line for each task that is still to be planned."""
    rejected = json_lines(request, "Rejected")
    goal, earlier = section(request, "Goal"), earlier_goals(request)
    tasks = plan(goal, listed_tools(request), _reasons(rejected), earlier)
    if so_far := json_lines(request, "Plan so far"):
        return "".join(f"{msgspec.json.encode(one).decode()}\n" for one in revised(tasks, so_far))
    missing = remaining(tasks, json_lines(request, "Already planned"))
    return "".join(f"{msgspec.json.encode(_line(task)).decode()}\n" for task in missing)


def plan(
    goal: str,
    tools: Iterable[str],
    reasons: Mapping[str, str] | None = None,
    earlier: Sequence[str] = (),
) -> tuple[TaskSpec, ...]:
    """Every task of the goal, numbered from 1, each after all that it needs.

    `reasons` maps the id of a rejected task to why; a tool named there is done without. `earlier`
    are the goals of the conversation that this one goes on with.
    """
    served, reasons = frozenset(tools), reasons or {}
    planned: list[Planned] = []
    seen: set[Key] = set()
    for clause in _clauses(goal, earlier):
        task_id = TaskId(str(len(planned) + 1))
        reason = reasons.get(task_id, "")
        usable = frozenset(tool for tool in served if not _names(reason, tool))
        task = _task(task_id, clause, planned, usable)
        if (key := _key(task)) not in seen:
            seen.add(key)
            planned.append((clause, task))
    return tuple(task for _, task in planned)


def revised(
    tasks: Sequence[TaskSpec], so_far: Sequence[Mapping[str, Any]]
) -> tuple[Mapping[str, Any], ...]:
    """The lines of a revision: what the goal's own plan has in the place of each failed task.

    Where it has just that task, or none, nothing can be mended by rule.
    """
    own = {task.id: task for task in tasks}
    lines: list[Mapping[str, Any]] = []
    for line in so_far:
        if line.get("state") != "failed":
            continue
        instead, failed = own.get(TaskId(str(line.get("id")))), _spec(line)
        if instead is None or failed is None or _key(instead) == _key(failed):
            return ({"give_up": first_line(str(line.get("error") or "it failed"))},)
        lines.append(_line(instead))
    return tuple(lines) or ({"give_up": "the rules know nothing more to try"},)


def remaining(
    tasks: Sequence[TaskSpec], planned: Sequence[Mapping[str, Any]]
) -> tuple[TaskSpec, ...]:
    """The tasks that `planned` lacks, with needs and ids that fit what it has."""
    existing = [spec for line in planned if (spec := _spec(line)) is not None]
    by_key = {_key(spec): spec.id for spec in existing}
    taken = {spec.id for spec in existing}
    names: dict[TaskId, TaskId] = {}
    missing: list[TaskSpec] = []
    for task in tasks:
        moved = msgspec.structs.replace(task, needs=tuple(names[need] for need in task.needs))
        if (known := by_key.get(_key(moved))) is not None:
            names[task.id] = known
            continue
        names[task.id] = _free(task.id, taken)
        taken.add(names[task.id])
        missing.append(msgspec.structs.replace(moved, id=names[task.id]))
    return tuple(missing)


def needed_tools(clause: Clause) -> tuple[str, ...]:
    """The tools that carrying out a clause calls."""
    match clause:
        case Count():
            return ("text_stats",)
        case CountEach():
            return ("list_files", "text_stats")
        case ListFiles():
            return ("list_files",)
        case Search():
            return ("search_files",)
        case ReadFile():
            return ("read_file",)
        case Compute() | Combine() | Adjust():
            return ("calculate",)
        case Call(tool):
            return (tool,)
        case Ask() | Compare() | Rank() | Report() | Unknown():
            return ()


def _clauses(goal: str, earlier: Sequence[str]) -> tuple[Clause, ...]:
    """The clauses to plan; a goal that the rules cannot read at all stays in one piece."""
    said = (clause for clause in read_clauses(goal) if not isinstance(clause, Report))
    clauses = follow_up(tuple(said), earlier)
    if all(isinstance(clause, Unknown) for clause in clauses):
        text = goal.strip()[:LONGEST_INSTRUCTION] or "Do nothing: the goal is empty."
        return (Unknown(text),)
    if len(clauses) > MAX_TASKS:
        kept = clauses[: MAX_TASKS - 1]
        return (*kept, Unknown(f"Do the other {len(clauses) - len(kept)} parts of the goal."))
    return clauses


def _task(
    task_id: TaskId, clause: Clause, planned: Sequence[Planned], usable: frozenset[str]
) -> TaskSpec:
    wanted = needed_tools(clause)
    missing = [tool for tool in wanted if tool not in usable]
    if isinstance(clause, Compute) and not missing:
        args = {"expression": clause.expression}
        return TaskSpec(id=task_id, kind="tool", tool="calculate", args=args)
    if isinstance(clause, Call) and not missing and not clause.told:
        arguments = msgspec.json.decode(clause.arguments, type=dict[str, Any])
        return TaskSpec(id=task_id, kind="tool", tool=clause.tool, args=arguments)
    if isinstance(clause, Ask):
        return TaskSpec(id=task_id, kind="ask", instruction=f"{clause.question}?")
    if (about := _asked_for(clause, planned)) and not missing:
        path = {"$ref": about}
        return TaskSpec(
            id=task_id, kind="tool", tool=wanted[0], args={"path": path}, needs=(about,)
        )
    said = "".join(f" The tool {tool} is missing." for tool in missing[:1])
    return TaskSpec(
        id=task_id,
        instruction=phrase(clause)[:LONGEST_INSTRUCTION] + said,
        needs=_needs(clause, planned),
        tools=tuple(tool for tool in wanted if tool in usable),
    )


def _asked_for(clause: Clause, planned: Sequence[Planned]) -> TaskId | None:
    """The question whose answer is the file that a clause is about."""
    if not isinstance(clause, Count | ReadFile) or clause.path != ANSWER:
        return None
    asks = [task.id for earlier, task in planned if isinstance(earlier, Ask)]
    return asks[-1] if asks else None


def _needs(clause: Clause, planned: Sequence[Planned]) -> tuple[TaskId, ...]:
    match clause:
        case Compare() | Combine() | Rank():
            return _measured(clause, planned)
        case Adjust():
            numeric = [task.id for earlier, task in planned if _has_number(earlier)]
            return tuple(numeric[-1:])
        case _:
            return ()


def _measured(clause: Dependent, planned: Sequence[Planned]) -> tuple[TaskId, ...]:
    """The tasks whose numbers a clause means: those of its files, its unit, else the last kind."""
    counts = [(c, t) for c, t in planned if isinstance(c, Count | CountEach)]
    if clause.about:
        return tuple(t.id for c, t in counts if isinstance(c, Count) and c.path in clause.about)
    if clause.unit:
        return tuple(t.id for c, t in counts if clause.unit in c.units)
    families = (Count | CountEach, Search, ListFiles, Compute)
    for earlier, _ in reversed(planned):
        for family in families:
            if isinstance(earlier, family):
                return tuple(t.id for c, t in planned if isinstance(c, family))
    return ()


def _has_number(clause: Clause) -> bool:
    return isinstance(clause, Count | Search | ListFiles | Compute | Combine | Adjust)


def _names(reason: str, tool: str) -> bool:
    return re.search(rf"(?<![\w-]){re.escape(tool)}(?![\w-])", reason) is not None


def _reasons(rejected: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    return {str(line.get("id")): str(line.get("reason", "")) for line in rejected}


def _spec(line: Mapping[str, Any]) -> TaskSpec | None:
    try:
        return msgspec.convert(line, TaskSpec)
    except msgspec.ValidationError:
        return None


def _key(task: TaskSpec) -> Key:
    args = msgspec.json.encode(task.args or {}, order="deterministic")
    return (task.kind, task.tool or task.instruction, args, tuple(sorted(task.needs)))


def _free(wanted: TaskId, taken: set[TaskId]) -> TaskId:
    number = len(taken)
    while wanted in taken:
        number += 1
        wanted = TaskId(str(number))
    return wanted


def _line(task: TaskSpec) -> dict[str, Any]:
    common = {"id": task.id, "kind": task.kind}
    if task.kind == "tool":
        return {**common, "tool": task.tool, "args": task.args, "needs": task.needs}
    if task.kind == "ask":
        return {**common, "instruction": task.instruction, "needs": task.needs}
    return {
        **common,
        "instruction": task.instruction,
        "needs": task.needs,
        "tools": task.tools,
    }
