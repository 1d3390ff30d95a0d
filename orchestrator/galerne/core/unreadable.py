"""What an unreadable message in the log means: a fact that moves the job on instead of wedging it.

Facts are write-once, so bytes that are no fact keep their subject for ever. Whoever waits for
that subject gets a failure that says so.
"""

from galerne.messages.facts import AnyFact, Cancelled, Done, Ended, Ready
from galerne.messages.ids import TaskId, is_id
from galerne.messages.plan import Failed, TaskSpec, Usage


def meaning(name: str, error: str, at: float) -> AnyFact | None:
    """The fact to fold in place of the message under `name`; None where nobody waits for it."""
    head, _, rest = name.partition(".")
    message = f"its record in the log is unreadable ({error[:200]})"
    match head:
        case "done" if is_id(rest):
            outcome = Failed("invalid_message", message)
            return Done(
                task=TaskId(rest), outcome=outcome, usage=Usage(), by="unknown", attempt=0, at=at
            )
        case "ready" if (task := rest.rpartition(".")[2]) and is_id(task):
            # Its worker gets the same bytes and fails the task.
            return Ready(
                lane="executor", priority="normal", task=TaskSpec(id=TaskId(task)), goal=""
            )
        case "cancel" if not rest:
            return Cancelled(why="cancelled by an unreadable message", at=at)
        case "end" if not rest:
            return Ended(status="failed", usage=Usage(), at=at, error=message)
        case _:
            return None
