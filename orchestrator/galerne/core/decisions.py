"""Facts as decisions: which of them coordinators decide, about what, and when two are the same."""

from typing import Any

import msgspec

from galerne.messages.facts import (
    Accounted,
    AnyFact,
    Asked,
    Claimed,
    Decided,
    Done,
    Ended,
    ModelStep,
    Moved,
    Ready,
    ToolStep,
)
from galerne.messages.plan import Failed, Outcome, Usage
from galerne.messages.subjects import fact_name

Slot = tuple[str | int, ...]
"""What can be decided once: how a task starts, how it is settled, the end."""
END: Slot = ("end",)


def is_decision(fact: AnyFact) -> bool:
    """Whether a coordinator decided it: everything else comes from workers and from people.

    Queueing anew what the queue has lost follows from the queue, of which the log says nothing.
    """
    match fact:
        case Ready(again=0) | Ended() | Asked(n=0) | Decided(verdict="expired"):
            return True
        case Done(by="coordinator", attempt=0):
            return True
        case _:
            return False


def slot_of(fact: AnyFact) -> Slot | None:
    """What the fact decides; None where there is nothing to decide."""
    match fact:
        case Ready(task=task, resume=0, again=0):
            return "ready", task.id
        case Ready(task=task, resume=resume, again=0):
            return "resume", task.id, resume
        case Done(task=task_id):
            return "done", task_id
        case Asked(task=task_id, n=n, round=round_):
            return "ask", task_id, n, round_
        case Decided(task=task_id, n=n, round=round_):
            return "decided", task_id, n, round_
        case Ended():
            return END
        case _:
            return None


def shown(fact: AnyFact) -> str:
    """How a report names a decision."""
    return f"ended({fact.status})" if isinstance(fact, Ended) else fact_name(fact)


def comparable(fact: AnyFact) -> AnyFact:
    """The fact without times, usage, settings and the words of errors: none of them is decided."""
    changes: dict[str, Any] = {}
    match fact:
        case Ready(deadline=deadline):
            changes = {"deadline": None if deadline is None else 0.0, "max_attempts": 0}
            if fact.failed:  # what was known of the plan just then
                changes |= {"inputs": {}, "failed": (), "missing": None}
        case Asked(until=until, what=what):
            changes = {"until": None if until is None else 0.0, "at": 0.0}
            changes |= {"question": ""} if what == "approval" else {}
        case Decided():
            changes = {"at": 0.0, "why": ""}
        case Done(outcome=outcome):
            changes = {"at": 0.0, "usage": Usage(), "outcome": _without_words(outcome)}
        case Ended():
            changes = {"at": 0.0, "usage": Usage(), "would_have": None, "error": None}
        case _:
            pass
    return msgspec.structs.replace(fact, **changes)


def _without_words(outcome: Outcome) -> Outcome:
    return Failed(outcome.code, "") if isinstance(outcome, Failed) else outcome


def is_alike(one: AnyFact, other: AnyFact) -> bool:
    return one is other or comparable(one) == comparable(other)


def other_fields(one: AnyFact, other: AnyFact) -> tuple[str, ...]:
    if type(one) is not type(other):
        return ()
    left, right = comparable(one), comparable(other)
    return tuple(
        name for name in left.__struct_fields__ if getattr(left, name) != getattr(right, name)
    )


def decided_at(fact: AnyFact, stored: float) -> float:
    """When it was decided, by its coordinator's clock where it says so; else `stored`."""
    match fact:
        case Asked(at=at) | Decided(at=at) | Done(at=at) | Ended(at=at):
            return at
        case _:
            return stored


def wakes(fact: AnyFact) -> bool:
    """Whether coordinators hear of it: not of their own `ready` and of what workers note."""
    return not isinstance(fact, Ready | Claimed | ModelStep | ToolStep | Moved | Accounted)
