"""What an unreadable message in the log means: a fact that moves the job on instead of wedging it.

Facts are write-once, so bytes that are no fact keep their subject for ever. Whoever waits for
that subject gets a failure that says so.
"""

from typing import cast

from galerne.messages.facts import (
    LANES,
    PRIORITIES,
    AnyFact,
    Cancelled,
    Decided,
    Done,
    Ended,
    Lane,
    Planned,
    Priority,
    Ready,
)
from galerne.messages.ids import TaskId, is_id
from galerne.messages.plan import Failed, TaskSpec, Usage

MOST = 10
"""Digits of a number in a subject."""


def meaning(name: str, error: str, at: float) -> AnyFact | None:
    """The fact to fold in place of the message under `name`; None where nobody waits for it."""
    message = f"its record in the log is unreadable ({error[:200]})"
    match name.split("."):
        case ["done", task] if is_id(task):
            outcome = Failed("invalid_message", message)
            return Done(
                task=TaskId(task), outcome=outcome, usage=Usage(), by="unknown", attempt=0, at=at
            )
        case ["ready", lane, priority, task] if _is_served(lane, priority) and is_id(task):
            # The lane's worker gets the same bytes and fails the task.
            return Ready(
                lane=cast("Lane", lane),
                priority=cast("Priority", priority),
                task=TaskSpec(id=TaskId(task)),
                goal="",
            )
        case ["resume", lane, priority, task, number] if (
            _is_served(lane, priority) and is_id(task) and _is_resume(number)
        ):
            resume, _, again = number.partition("-")
            return Ready(
                lane=cast("Lane", lane),
                priority=cast("Priority", priority),
                task=TaskSpec(id=TaskId(task)),
                goal="",
                resume=int(resume),
                again=int(again or 0),
            )
        case ["ask", task, "0", "1"] if is_id(task):
            # Nobody can read the question, so nobody answers it.
            return Decided(task=TaskId(task), n=0, verdict="denied", why=message, at=at)
        case ["decided", task, n, round_] if is_id(task) and _is_count(round_):
            if n != "0" and not _is_count(n):
                return None
            return Decided(
                task=TaskId(task), n=int(n), round=int(round_), verdict="denied", why=message, at=at
            )
        case ["plan", revision, n] if _is_count(revision) and _is_count(n):
            # A task without a usable id: its place in the plan stays empty.
            return Planned(revision=int(revision), n=int(n), task=TaskSpec(id=TaskId("")))
        case ["cancel"]:
            return Cancelled(why="cancelled by an unreadable message", at=at)
        case ["end"]:
            return Ended(status="failed", usage=Usage(), at=at, error=message)
        case _:
            return None


def _is_served(lane: str, priority: str) -> bool:
    """Whether a worker takes from the lane: what stands elsewhere must not pass for ready."""
    return lane in LANES and priority in PRIORITIES


def _is_resume(text: str) -> bool:
    """`2` after two answers; `2-1` or `0-1` where the queue had lost it."""
    resume, dash, again = text.partition("-")
    if not dash:
        return _is_count(resume)
    return (resume == "0" or _is_count(resume)) and _is_count(again)


def _is_count(text: str) -> bool:
    """A number from 1 as subjects write it: small, and without leading zeros."""
    return text.isascii() and text.isdecimal() and not text.startswith("0") and len(text) < MOST
