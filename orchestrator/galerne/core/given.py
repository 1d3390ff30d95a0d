"""Plans that no model wrote straight into the log: given with the job, or reviewed by a person.

job with a plan ──────────────────────────────┐
job to be reviewed ─▶ plan-1 writes a draft ──┤
▼
(review) asked plan-1.0 ─▶ decided: as it is, changed, or refused
▼
planned, planned, …, plan.1.end: as if a planner had written it
"""

from typing import Any, Final

import msgspec

from galerne.core.rules import Rules
from galerne.core.state import JobState
from galerne.core.written import given_tasks
from galerne.messages.facts import AnyFact, Asked, JobSpec, PlanEnded, Planned
from galerne.messages.ids import plan_task
from galerne.messages.plan import Succeeded

REVIEW: Final = (plan_task(1), 0, 1)
"""The key of the question whether this is to be the plan."""


def next_facts(state: JobState, job: JobSpec, now: float, rules: Rules) -> list[AnyFact]:
    """What the log lacks of a plan that is given or reviewed. Raises InvalidInputError."""
    end = state.plan_ends.get(1)
    draft = _draft(state, job)
    if draft is None:
        return []
    there = _numbers(state)
    if end is not None and len(there) >= end.count:
        return []
    if job.review:
        decided = state.asks.decided.get(REVIEW)
        if decided is None:
            return [] if REVIEW in state.asks.asked else [_asked(draft, now, rules)]
        if decided.verdict == "answered":
            draft = decided.value
    tasks = given_tasks(draft)
    facts: list[AnyFact] = [
        Planned(revision=1, n=n, task=task) for n, task in enumerate(tasks, 1) if n not in there
    ]
    if 1 not in state.plan_ends:
        facts.append(PlanEnded(revision=1, count=len(tasks)))
    return facts


def refusal(state: JobState) -> str | None:
    """Why the plan was not to be, where a person (or the clock) has said so."""
    decided = state.asks.decided.get(REVIEW)
    if decided is None or decided.verdict in {"approved", "answered"}:
        return None
    if decided.verdict == "expired":
        return "nobody reviewed the plan in time"
    why = f": {decided.why}" if decided.why else ""
    return f"{decided.by or 'a person'} refused the plan{why}"


def is_given(job: JobSpec) -> bool:
    """Whether a coordinator writes the plan's first revision, and not a planner."""
    return job.plan is not None or job.review


def is_written(state: JobState, job: JobSpec) -> bool:
    """Whether the first revision stands whole in the log, and is not a draft any more."""
    if not is_given(job):
        return state.succeeded(plan_task(1))
    end = state.plan_ends.get(1)
    return end is not None and len(_numbers(state)) >= end.count


def _numbers(state: JobState) -> set[int]:
    """Those that nobody can write any more."""
    return state.numbers.get(1, set()) | state.spoiled.get(1, set())


def _draft(state: JobState, job: JobSpec) -> Any:
    if job.plan is not None:
        return job.plan
    done = state.done.get(plan_task(1))
    if not job.review or done is None or not isinstance(done.outcome, Succeeded):
        return None
    return done.outcome.value


def _asked(draft: Any, now: float, rules: Rules) -> Asked:
    task, n, round_ = REVIEW
    return Asked(
        task=task,
        n=n,
        round=round_,
        what="review",
        question="Is this to be the plan?",
        arguments={"tasks": [msgspec.to_builtins(task) for task in given_tasks(draft)]},
        until=now + rules.ask_timeout,
        at=now,
    )
