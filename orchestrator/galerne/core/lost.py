"""Tasks that the queue has lost, and how they get into it again.

The server copies each `ready` into the work queue. Killed hard, it may skip some of them when it
starts again (ADR 6): such a task stands ready in the log, and no worker ever hears of it.
"""

from collections.abc import Set as AbstractSet

import msgspec

from galerne.core.state import JobState
from galerne.messages.facts import Ready
from galerne.messages.ids import TaskId


def to_be_queued(state: JobState) -> set[TaskId]:
    """The tasks whose message has to be in the queue: a worker takes it out once they are done.

    One that waits for a person has given its message back. One of which nobody could read the
    `ready` is left to its deadline: there is nothing to queue.
    """
    if state.ended is not None:
        return set()
    parked = state.asks.waiting.keys() | state.to_resume
    return {task for task in state.under_way - parked if state.ready[task].goal}


def queued_anew(state: JobState, queue: AbstractSet[TaskId]) -> list[Ready]:
    """What to write for the tasks of `to_be_queued` that the queue does not hold.

    Each time is a fact of its own, so that of several coordinators one queues it. A worker that has
    the task already, or finds it done, drops the second message.
    """
    return [
        msgspec.structs.replace(
            state.ready[task],
            resume=state.resumed.get(task, 0),
            again=state.requeued.get(task, 0) + 1,
        )
        for task in sorted(to_be_queued(state) - queue)
    ]
