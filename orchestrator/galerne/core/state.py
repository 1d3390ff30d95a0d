"""What a job's facts add up to.

`fold` puts one fact into a `JobState`. Facts are write-once, so the state is a function of the
*set* of facts: any order and any repetition ends in the same place. Beside what the facts say,
the state keeps three indexes so that a decision costs no more in a large job than in a small one:
how many needs each task still misses, who waits for whom, and which tasks may start now.
"""

from typing import Any

import msgspec

from galerne.core.asks import Asks
from galerne.core.usage import step_usage
from galerne.errors import BudgetExhaustedError
from galerne.messages.facts import (
    Accounted,
    AnyFact,
    Asked,
    Cancelled,
    Claimed,
    Decided,
    Done,
    Ended,
    JobSpec,
    ModelStep,
    Moved,
    PlanEnded,
    Planned,
    Ready,
    Step,
    Submitted,
    ToolStep,
)
from galerne.messages.ids import TaskId, is_id, is_reserved
from galerne.messages.plan import Failed, Succeeded, TaskSpec, Usage


class TaskTimes(msgspec.Struct):
    """Unix seconds of the first time that each thing was seen in the log."""

    ready: float | None = None
    claimed: float | None = None
    done: float | None = None


class JobState(msgspec.Struct):
    """One job. Change it with `fold` only."""

    job: JobSpec | None = None
    submitted_at: float | None = None
    planned: dict[TaskId, Planned] = {}
    plan_ends: dict[int, PlanEnded] = {}
    ready: dict[TaskId, Ready] = {}
    claims: dict[TaskId, Claimed] = {}
    steps: dict[tuple[TaskId, int], Step] = {}
    moves: dict[tuple[TaskId, int], Moved] = {}
    done: dict[TaskId, Done] = {}
    asks: Asks = msgspec.field(default_factory=Asks)
    account: Accounted | None = None
    cancelled: Cancelled | None = None
    ended: Ended | None = None
    times: dict[TaskId, TaskTimes] = {}

    missing: dict[TaskId, int] = {}
    """Planned tasks → how many of their needs have not succeeded."""
    children: dict[TaskId, set[TaskId]] = {}
    """A need that has not succeeded → the planned tasks that wait for it."""
    startable: set[TaskId] = set()
    """Planned tasks that miss nothing, are neither ready nor done, and wait for nobody's word."""
    unfinished: set[TaskId] = set()
    """Planned tasks without an outcome."""
    under_way: set[TaskId] = set()
    """Tasks (planned or not) that are ready or running."""
    numbers: dict[int, set[int]] = {}
    """A revision → the numbers of its tasks that the log holds."""
    failed: set[TaskId] = set()
    """Tasks (planned or not) that ended in failure."""
    out_of_budget: set[TaskId] = set()
    """Those of them that the job's budget stopped."""
    started: set[TaskId] = set()
    """Planned tasks, or such as have no reserved id, that are or were ready."""
    resumed: dict[TaskId, int] = {}
    """Tasks → after how many answers they were queued anew."""
    to_resume: set[TaskId] = set()
    """Tasks that are ready, not done, and have got an answer since they were last queued."""

    def spec(self, task: TaskId) -> TaskSpec | None:
        planned = self.planned.get(task)
        return planned.task if planned else None

    def succeeded(self, task: TaskId) -> bool:
        done = self.done.get(task)
        return done is not None and isinstance(done.outcome, Succeeded)

    def value(self, task: TaskId) -> Any:
        """The result of a task that has succeeded, None of any other."""
        done = self.done.get(task)
        outcome = done.outcome if done else None
        return outcome.value if isinstance(outcome, Succeeded) else None

    def in_plan_order(self) -> list[Planned]:
        return sorted(self.planned.values(), key=lambda planned: (planned.revision, planned.n))

    def usage(self) -> Usage:
        """What the finished tasks have used, and the steps of the others as far as they are here.

        Where nobody who worked on a task wrote its outcome, its steps count too.
        """
        total = Usage()
        for done in self.done.values():
            total = total.plus(done.usage)
        for (task, _), step in self.steps.items():
            known = self.done.get(task)
            if known is None or known.attempt == 0:
                total = total.plus(step_usage(step))
        return total


def fold(state: JobState, fact: AnyFact, at: float) -> None:  # noqa: C901, PLR0912 - one case a fact
    """Put `fact`, stored at Unix time `at`, into `state`."""
    match fact:
        case Submitted(job=job, at=submitted_at):
            state.job, state.submitted_at = job, submitted_at
        case Planned():
            _fold_planned(state, fact)
        case PlanEnded(revision=revision):
            state.plan_ends[revision] = fact
        case Ready(task=task):
            _fold_ready(state, fact, task.id, at)
        case Claimed(task=task_id):
            _fold_claimed(state, fact, task_id, at)
        case ModelStep(task=task_id, n=n) | ToolStep(task=task_id, n=n):
            state.steps[task_id, n] = fact
        case Moved(task=task_id, n=n):
            state.moves[task_id, n] = fact
        case Done():
            _fold_done(state, fact, at)
        case Asked(task=task_id) | Decided(task=task_id):
            state.asks.fold(fact)
            _index_startable(state, task_id)
            _index_resume(state, task_id)
        case Accounted():
            if state.account is None or _entry(state.account) < _entry(fact):
                state.account = fact
        case Cancelled():
            state.cancelled = fact
        case Ended():
            state.ended = fact


def _fold_ready(state: JobState, fact: Ready, task: TaskId, at: float) -> None:
    if not is_id(task):  # no lane carries it, so nobody will ever finish it
        return
    had = state.ready.get(task)
    if had is None or _place(fact) < _place(had):
        state.ready[task] = fact
    if not is_reserved(task):
        state.started.add(task)
    if fact.resume > state.resumed.get(task, 0):
        state.resumed[task] = fact.resume
    state.startable.discard(task)
    if task not in state.done:
        state.under_way.add(task)
    _index_resume(state, task)
    times = _times(state, task)
    times.ready = _earlier(times.ready, at)


def _place(ready: Ready) -> tuple[int, str, str]:
    return ready.resume, ready.lane, ready.priority


def _entry(account: Accounted) -> tuple[int, int, int, float]:
    return account.n, account.calls, account.tokens, account.usd


def _fold_claimed(state: JobState, fact: Claimed, task: TaskId, at: float) -> None:
    had = state.claims.get(task)
    if had is None or _rank(had) < _rank(fact):
        state.claims[task] = fact
    times = _times(state, task)
    times.claimed = _earlier(times.claimed, at)


def _rank(claim: Claimed) -> tuple[int, bool, float, str, str]:
    """The latest claim has the highest: giving back is an attempt's last word."""
    return (claim.attempt, claim.until <= 0, claim.until, claim.by, claim.note or "")


def _fold_planned(state: JobState, fact: Planned) -> None:
    task = fact.task.id
    if not is_id(task) or is_reserved(task):  # its number stays open: the plan is incomplete
        return
    state.numbers.setdefault(fact.revision, set()).add(fact.n)
    had = state.planned.get(task)
    if had is not None:
        if (had.revision, had.n) <= (fact.revision, fact.n):
            return
        for need in had.task.needs:  # the earlier place in the plan stands, whoever came first
            _forget_child(state, need, task)
    state.planned[task] = fact
    waiting = {need for need in fact.task.needs if not state.succeeded(need)}
    for need in waiting:
        state.children.setdefault(need, set()).add(task)
    state.missing[task] = len(waiting)
    if task not in state.done:
        state.unfinished.add(task)
    _index_startable(state, task)


def _fold_done(state: JobState, fact: Done, at: float) -> None:
    task = fact.task
    times = _times(state, task)
    times.done = _earlier(times.done, at)
    if task in state.done:
        return
    state.done[task] = fact
    state.unfinished.discard(task)
    state.under_way.discard(task)
    state.startable.discard(task)
    state.to_resume.discard(task)
    if isinstance(fact.outcome, Failed):
        state.failed.add(task)
        if fact.outcome.code == BudgetExhaustedError.code:
            state.out_of_budget.add(task)
        return
    for child in state.children.pop(task, ()):
        state.missing[child] -= 1
        _index_startable(state, child)


def _forget_child(state: JobState, need: TaskId, task: TaskId) -> None:
    waiting = state.children.get(need, set())
    waiting.discard(task)
    if not waiting:
        state.children.pop(need, None)


def _index_startable(state: JobState, task: TaskId) -> None:
    fresh = task not in state.ready and task not in state.done and task not in state.asks.waiting
    if fresh and state.missing.get(task) == 0:
        state.startable.add(task)
    else:
        state.startable.discard(task)


def _index_resume(state: JobState, task: TaskId) -> None:
    answered = state.asks.answered.get(task, 0)
    queued = task in state.ready and task not in state.done
    if queued and answered > state.resumed.get(task, 0):
        state.to_resume.add(task)
    else:
        state.to_resume.discard(task)


def _times(state: JobState, task: TaskId) -> TaskTimes:
    return state.times.setdefault(task, TaskTimes())


def _earlier(had: float | None, at: float) -> float:
    return at if had is None else min(had, at)
