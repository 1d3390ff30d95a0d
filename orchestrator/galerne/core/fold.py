"""One fact into a job's state.

Facts are write-once, so the state is a function of the *set* of facts: any order and any
repetition ends in the same place. Where two facts speak of one thing, a rule that knows no order
says which counts.
"""

from galerne.core import index
from galerne.core.asks import PARKED
from galerne.core.state import JobState, TaskTimes, place
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
    ModelStep,
    Moved,
    PlanEnded,
    Planned,
    Ready,
    Submitted,
    ToolStep,
)
from galerne.messages.ids import TaskId, above, is_id, is_reserved
from galerne.messages.plan import DROPPED, Failed


def fold(state: JobState, fact: AnyFact, at: float) -> None:  # noqa: C901, PLR0912 - one case a fact
    """Put `fact`, stored at Unix time `at`, into `state`."""
    match fact:
        case Submitted(job=job, at=submitted_at):
            state.job, state.submitted_at = job, submitted_at
        case Planned():
            _fold_planned(state, fact)
        case PlanEnded():
            _fold_plan_ended(state, fact)
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
            index.refresh(state, task_id)
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
    if fact.again > state.requeued.get(task, 0):
        state.requeued[task] = fact.again
    state.startable.discard(task)
    if task not in state.done:
        state.under_way.add(task)
    _index_resume(state, task)
    times = _times(state, task)
    times.ready = _earlier(times.ready, at)
    if fact.failed or (had is not None and had.failed):
        index.rebuild(state)


def _place(ready: Ready) -> tuple[int, int, str, str]:
    return ready.resume, ready.again, ready.lane, ready.priority


def _entry(account: Accounted) -> tuple[int, int, int, float]:
    return account.n, account.calls, account.tokens, account.usd


def _fold_claimed(state: JobState, fact: Claimed, task: TaskId, at: float) -> None:
    had = state.claims.get(task)
    if had is None or _rank(had) < _rank(fact):
        state.claims[task] = fact
    if fact.until <= 0 and fact.note and not fact.note.startswith(PARKED):
        last = state.given_back.get(task)
        if last is None or _rank(last) < _rank(fact):
            state.given_back[task] = fact
    times = _times(state, task)
    times.claimed = _earlier(times.claimed, at)


def _rank(claim: Claimed) -> tuple[int, bool, float, str, str]:
    """The latest claim has the highest: giving back is an attempt's last word."""
    return (claim.attempt, claim.until <= 0, claim.until, claim.by, claim.note or "")


def _fold_planned(state: JobState, fact: Planned) -> None:
    task = fact.task.id
    if not is_id(task) or is_reserved(task):  # its number stays open: the plan is incomplete
        state.spoiled.setdefault(fact.revision, set()).add(fact.n)
        return
    if fact.parent is not None and above(task) != fact.parent:  # nobody's part
        return
    if fact.parent is None:
        state.numbers.setdefault(fact.revision, set()).add(fact.n)
    else:
        state.nested.setdefault(fact.parent, {})[fact.n] = task
    had = state.planned.get(task)
    if had is not None and place(had) <= place(fact):  # whoever came first, the earlier place
        return
    state.planned[task] = fact
    known = had is not None or task in state.parts
    if known or fact.task.replaces is not None or state.gone:
        index.rebuild(state)
    else:
        index.add(state, fact)


def _fold_plan_ended(state: JobState, fact: PlanEnded) -> None:
    if fact.parent is not None:
        state.nested_ends[fact.parent] = fact
        index.look_whether_complete(state, fact.parent)
        return
    state.plan_ends[fact.revision] = fact
    if fact.revision > 1:
        index.rebuild(state)


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
    state.complete.discard(task)
    state.to_resume.discard(task)
    if isinstance(fact.outcome, Failed):
        _count_failure(state, task, fact.outcome)
    if _changes_others(state, task):
        index.rebuild(state)
    elif isinstance(fact.outcome, Failed):
        index.look_whether_complete(state, state.owner.get(task, task))
    else:
        index.has_succeeded(state, task)


def _count_failure(state: JobState, task: TaskId, failure: Failed) -> None:
    if failure.code != DROPPED:
        state.failed.add(task)
    if failure.code == BudgetExhaustedError.code:
        state.out_of_budget.add(task)


def _changes_others(state: JobState, task: TaskId) -> bool:
    """Whether it was given up and has come all the same, or is settled before all its parts are."""
    if task in state.gone:
        return True
    group = state.groups.get(task)
    if group is None or group.open:
        return task in state.owner.values()
    return any(state.owner.get(one) == task for one in state.unfinished)


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
