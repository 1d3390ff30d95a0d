"""Logs for tests: every kind of fact, from pools so small that they meet.

What a planner would never write is in here too: needs that nobody plans, tasks that need
themselves, circles, one id at several places of the plan, outcomes of tasks that nobody planned,
ids that no subject can hold, and names whose bytes are no fact.
"""

from collections.abc import Hashable, Iterable, Sequence
from itertools import product
from random import Random
from typing import Any, TypeVar

import msgspec
from hypothesis import strategies as st

from galerne.core.fold import fold
from galerne.core.state import JobState
from galerne.core.unreadable import meaning
from galerne.messages.chat import ChatMessage, TokenUsage
from galerne.messages.facts import (
    LANES,
    PRIORITIES,
    Accounted,
    AnyFact,
    Asked,
    Cancelled,
    Claimed,
    Decided,
    Done,
    Ended,
    JobSpec,
    Lane,
    ModelStep,
    Moved,
    PlanEnded,
    Planned,
    Priority,
    Question,
    Ready,
    Step,
    Submitted,
    ToolStep,
    Verdict,
)
from galerne.messages.ids import DEFAULT_TENANT, JobId, TaskId
from galerne.messages.plan import Failed, ModelUsage, Outcome, Succeeded, TaskKind, TaskSpec, Usage
from galerne.messages.subjects import fact_name

F = TypeVar("F")

JOB = JobSpec(id=JobId("job-1"), tenant=DEFAULT_TENANT, goal="count the words", inputs={"a": 1})
PLAN = TaskId("plan-1")
KINDS: tuple[TaskKind, ...] = ("agent", "tool", "plan", "ask", "answer")


class Stored(msgspec.Struct, frozen=True):
    """A fact (or what stands for unreadable bytes) under its name, stored at a Unix time."""

    name: str
    fact: AnyFact
    at: float


def stored(fact: AnyFact, at: float = 0.0) -> Stored:
    return Stored(fact_name(fact), fact, at)


def folded(log: Iterable[Stored]) -> JobState:
    state = JobState()
    for one in log:
        fold(state, one.fact, one.at)
    return state


def facts_of(log: Iterable[Stored], kind: type[F]) -> list[F]:
    return [one.fact for one in log if isinstance(one.fact, kind)]


# single facts, for tests that tell a story


def submitted(priority: Priority = "normal") -> Submitted:
    return Submitted(job=msgspec.structs.replace(JOB, priority=priority), at=1.0)


def planned(n: int, task: str, *needs: str, kind: TaskKind = "agent", revision: int = 1) -> Planned:
    return Planned(revision=revision, n=n, task=spec(task, *needs, kind=kind))


def spec(task: str, *needs: str, kind: TaskKind = "agent") -> TaskSpec:
    return TaskSpec(
        id=TaskId(task),
        kind=kind,
        instruction=f"do {task}" if kind == "agent" else "",
        needs=tuple(TaskId(need) for need in needs),
        tool="text_stats" if kind == "tool" else None,
        args={"path": task} if kind == "tool" else None,
    )


def ready(task: str, kind: TaskKind = "agent", lane: Lane = "executor") -> Ready:
    return Ready(lane=lane, priority="normal", task=spec(task, kind=kind), goal=JOB.goal)


def claimed(
    task: str, attempt: int = 1, until: float = 20.0, by: str = "worker", note: str | None = None
) -> Claimed:
    return Claimed(task=TaskId(task), by=by, until=until, attempt=attempt, note=note)


def done(task: str, value: Any = "fine", at: float = 5.0, calls: int = 0) -> Done:
    return _done(task, Succeeded(value), at, calls)


def failed(task: str, message: str = "no such file", at: float = 5.0) -> Done:
    return _done(task, Failed("tool", message), at, 0)


def _done(task: str, outcome: Outcome, at: float, calls: int) -> Done:
    usage = Usage(models={"small": ModelUsage(calls=calls)} if calls else {})
    return Done(task=TaskId(task), outcome=outcome, usage=usage, by="worker", attempt=1, at=at)


def asked(
    task: str,
    n: int = 1,
    round_: int = 1,
    what: Question = "approval",
    until: float | None = None,
    at: float = 3.0,
) -> Asked:
    return Asked(
        task=TaskId(task), n=n, round=round_, what=what, question="may I?", until=until, at=at
    )


def decided(
    task: str, n: int = 1, round_: int = 1, verdict: Verdict = "approved", value: Any = None
) -> Decided:
    return Decided(task=TaskId(task), n=n, round=round_, verdict=verdict, value=value, at=4.0)


def plan_ended(count: int, revision: int = 1) -> PlanEnded:
    return PlanEnded(revision=revision, count=count)


def model_step(task: TaskId, n: int) -> ModelStep:
    return ModelStep(
        task=task,
        n=n,
        message=ChatMessage("assistant", "so"),
        model="small",
        finish="stop",
        usage=TokenUsage(3, 4),
    )


def moved(task: TaskId, n: int) -> Moved:
    return Moved(
        task=task,
        n=n,
        from_model=f"model-{n}",
        to_model=f"model-{n + 1}",
        reason="the answer is not JSON",
        at=float(n),
    )


def tool_step(task: TaskId, n: int) -> ToolStep:
    return ToolStep(task=task, n=n, call_id="abcdefghi", tool="text_stats", content="7", value=7)


# arbitrary logs: drawn from tables, which is many times faster than drawing each field


def _ids(*names: str) -> list[TaskId]:
    return [TaskId(name) for name in names]


IDS = _ids("1", "2", "3", "4", "ghost", "plan-1", "plan-2", "answer")
ODD_IDS = _ids("", "a.b", "*", "ü", "x" * 65)
SOME_IDS = (*IDS, *ODD_IDS[:2])
NEEDS = [(), *([need] for need in SOME_IDS), *product(IDS[:4], repeat=2), IDS]
USAGES = (
    Usage(),
    Usage(tool_calls=2),
    Usage(models={"small": ModelUsage(calls=1, prompt_tokens=5)}),
    Usage(models={"large": ModelUsage(calls=2), "small": ModelUsage(completion_tokens=3)}),
)
OUTCOMES: tuple[Outcome, ...] = (
    Succeeded("fine"),
    Succeeded({"words": [7]}),
    Succeeded(None),
    Failed("tool", "no such file"),
    Failed("budget_exhausted", "the budget of 7 model calls is used up"),
)
PLACES: tuple[tuple[int, int, TaskKind], ...] = (
    (1, 1, "agent"), (1, 2, "tool"), (1, 3, "agent"), (2, 1, "plan")
)  # fmt: skip
PLANS = [
    Planned(revision=revision, n=n, task=spec(task, *needs, kind=kind))
    for task, needs in product((*IDS[:4], *SOME_IDS), NEEDS)
    for revision, n, kind in PLACES
]
PART_OUTCOMES: tuple[Outcome, ...] = (
    Succeeded(["x", "y"]),
    Failed("tool", "no"),
    Failed("dropped", "without it"),
)
PARTS = _ids("1--0", "1--1", "2--plan", "2--1", "2--2", "3--r2", "1--0--r2")
GROUPS: list[AnyFact] = [
    *(
        Planned(revision=1, n=n, task=msgspec.structs.replace(spec(task, *needs), foreach=foreach))
        for task, needs in product(IDS[:2], ((), ("3",)))
        for n, foreach in enumerate(([], ["a", "b"], {"$ref": "3"}, {"$ref": "3.words"}), 1)
    ),
    *(
        Planned(revision=1, n=2, task=msgspec.structs.replace(one, approve=approve))
        for one in (spec("2", kind="plan"), spec("2", "1", kind="plan"))
        for approve in (False, True)
    ),
    *(
        Planned(revision=1, n=n, task=spec(task, *needs), parent=TaskId(parent))
        for n, task in enumerate(("2--1", "2--2"), 1)
        for parent, needs in product(("2", "1--0"), ((), ("2--1",), ("3", "2--1")))
    ),
    *(
        Planned(revision=2, n=n, task=msgspec.structs.replace(spec(new, *needs), replaces=old))
        for n, (new, old) in enumerate(
            (("3--r2", "3"), ("1--0--r2", "1--0"), ("4", "2--1"), ("3", "4"), ("1", "3")), 1
        )
        for needs in ((), ("1",))
    ),
    *(PlanEnded(revision=1, count=count, parent=TaskId("2")) for count in (1, 2)),
    *(
        PlanEnded(revision=2, count=count, dropped=tuple(map(TaskId, dropped)), gave_up=gave_up)
        for count, dropped in ((0, ("3",)), (1, ()), (1, ("2", "1--1")), (2, ("2--1",)))
        for gave_up in (None, "no way")
    ),
    *(
        msgspec.structs.replace(
            ready(f"plan-{revision}", kind="plan", lane="planner"), failed=tuple(map(TaskId, lost))
        )
        for revision, lost in product((2, 3), (("3",), ("1--0",), ("1", "2--2"), ("answer",)))
    ),
    *(
        Done(task=task, outcome=outcome, usage=USAGES[1], by="worker", attempt=1, at=at)
        for task, outcome in product((*PARTS, IDS[0], IDS[1], IDS[2]), PART_OUTCOMES)
        for at in (2.0, 6.0)
    ),
    *(
        Ready(lane="executor", priority="normal", task=spec(task), goal="")
        for task in (*PARTS, IDS[0], IDS[2])
    ),
    *(decided(task, 0, 1, "approved") for task in IDS[:3]),
]
DONES = [
    Done(task=task, outcome=outcome, usage=usage, by="worker", attempt=1, at=at)
    for task, outcome in product(SOME_IDS, OUTCOMES)
    for usage, at in zip(USAGES, (4.0, 3.0, 3.0, 9.5), strict=True)
]
READIES = [
    Ready(
        lane=lane,
        priority=priority,
        task=spec(task, "2", kind=kind),
        goal="",
        inputs={"2": 2},
        resume=resume,
        again=again,
    )
    for task, lane, priority in product(SOME_IDS, LANES, PRIORITIES)
    for kind, resume, again in zip(KINDS, (0, 0, 0, 1, 2), (0, 1, 2, 0, 1), strict=True)
]
QUESTIONS = list(product(SOME_IDS, (0, 1), (1, 2)))
ASKS: list[AnyFact] = [
    *(asked(*place, "approval") for place in QUESTIONS),
    *(asked(*place, "doubt", 30.0) for place in QUESTIONS),
    *(decided(*place, "approved") for place in QUESTIONS),
    *(decided(*place, "expired") for place in QUESTIONS),
    *(Accounted(n=n, calls=calls, usd=n / 8) for n, calls in product((1, 2, 3), (1, 5))),
]
CLAIMS = [
    claimed(task, attempt, until, by, note)
    for task, attempt, by in product(SOME_IDS, (1, 2), ("ann", "bob"))
    for until, note in ((0.0, "stopped"), (0.0, "refused"), (20.0, None), (35.5, None))
]
STEPS: list[Step] = [
    *(model_step(task, n) for task, n in product(SOME_IDS, range(1, 4))),
    *(tool_step(task, n) for task, n in product(SOME_IDS, range(1, 4))),
]
OTHERS: list[AnyFact] = [
    submitted(),
    *(moved(task, n) for task, n in product(SOME_IDS, range(1, 3))),
    *(plan_ended(count, revision) for count, revision in product(range(-1, 5), (1, 2))),
    Cancelled(why="enough", at=7.0),
    Ended(status="succeeded", usage=USAGES[3], at=8.0, result={"words": 7}),
    Ended(status="failed", usage=USAGES[0], at=2.0, error="no such file"),
]
tokens = st.sampled_from((
    *IDS, *ODD_IDS, *LANES, *PRIORITIES, "0", "end", "submitted", "plan", "ready", "run", "step",
    "done", "cancel", "fired",
))  # fmt: skip
names = st.one_of(
    st.lists(tokens, max_size=5).map(".".join),
    st.builds("done.{}".format, tokens),
    st.builds("ready.{}.{}.{}".format, tokens, tokens, tokens),
    st.builds(
        "ready.{}.{}.{}".format, st.sampled_from(LANES), st.just("normal"), st.sampled_from(IDS)
    ),
    st.builds("plan.1.{}".format, tokens),
    st.text(max_size=12),
)
"""Names of facts, near ones and nonsense, for bytes that cannot be read."""


def _place(one: Stored) -> Hashable:
    """What may be in a log only once: a name, but claims and accounts are appended to."""
    if isinstance(one.fact, Claimed | Accounted):
        return (one.name, msgspec.json.encode(one.fact), one.at)
    return one.name


def _unreadable(name: str, at: float) -> Stored | None:
    fact = meaning(name, "no JSON", at)
    return None if fact is None else Stored(name, fact, at)


TABLES: tuple[Sequence[AnyFact], ...] = (
    *(GROUPS, GROUPS, GROUPS, GROUPS),
    *(PLANS, PLANS, PLANS, DONES, DONES, READIES, READIES, ASKS, CLAIMS, STEPS, OTHERS),
)
_facts = [
    st.sampled_from([stored(fact, at=float(n * 37 % 101)) for n, fact in enumerate(table)])
    for table in TABLES
]
_stand_ins = st.builds(_unreadable, names, st.sampled_from((0.0, 50.0)))
entries: st.SearchStrategy[Stored | None] = st.one_of(*_facts, _stand_ins)


@st.composite
def logs(draw: st.DrawFn, max_size: int = 24) -> list[Stored]:
    """The readable meaning of a log: each name once, save for claims."""
    drawn = draw(st.lists(entries, max_size=max_size))
    kept: dict[Hashable, Stored] = {}
    for one in drawn:
        if one is not None:
            kept.setdefault(_place(one), one)
    return list(kept.values())


@st.composite
def retellings(draw: st.DrawFn) -> tuple[list[Stored], list[Stored]]:
    """A log, and the same facts in another order with some of them several times."""
    log = draw(logs())
    chance = Random(draw(st.integers(0, 2**20)))  # one draw, where a permutation takes dozens
    again = log + chance.choices(log, k=chance.randint(0, 6)) if log else []
    chance.shuffle(again)
    return log, again
