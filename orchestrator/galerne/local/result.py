"""What a run gives back: the answer, and everything that is known of the way to it."""

from typing import Any

import msgspec

from galerne.core.failure import failure
from galerne.core.state import JobState
from galerne.core.view import JobView, TaskView, unmended, view
from galerne.errors import JobFailedError
from galerne.local.blobs import MemoryBlobs
from galerne.messages.blobs import is_blob, to_blob
from galerne.messages.facts import Ended, JobSpec, JobStatus
from galerne.messages.ids import TaskId
from galerne.messages.plan import Usage
from galerne.tools import BlobFile


class RunResult(msgspec.Struct, frozen=True, kw_only=True):
    """`answer` is what the goal was for: for a goal in words, a text.

    What is too large to be shown to a model comes as a `BlobFile`. `tasks` are those of `view`,
    `usage` is by model; `seconds` ran from the beginning to the end.
    """

    answer: Any
    status: JobStatus
    tasks: tuple[TaskView, ...]
    usage: Usage
    seconds: float
    view: JobView
    blobs: MemoryBlobs

    @property
    def unsupported(self) -> tuple[str, ...]:
        """Numbers of the answer that no result of a tool says: the model's own word."""
        return self.view.unsupported

    @property
    def unmended(self) -> tuple[TaskId, ...]:
        """The tasks that have failed for good: the answer does without them."""
        return unmended(self.tasks)

    @property
    def cost(self) -> float:
        """US dollars, by the prices of the settings."""
        return self.usage.usd

    def file(self, value: Any) -> BlobFile:
        """The content for which a part of a result stands. Raises InvalidMessageError."""
        return BlobFile(to_blob(value), self.blobs)

    def __repr__(self) -> str:
        used = f"{self.usage.model_calls} model calls, {self.usage.tokens} tokens"
        return (
            f"<{self.status}: {len(self.tasks)} tasks, {self.seconds:.1f} s, {used},"
            f" ${self.cost:.4f}>"
        )


class RunFailedError(JobFailedError):
    """The run ended without success; `run` says how far it came, and what it has found."""

    def __init__(self, message: str, run: RunResult) -> None:
        super().__init__(message)
        self.run = run


def result_of(
    state: JobState, job: JobSpec, ended: Ended, blobs: MemoryBlobs, now: float
) -> RunResult:
    """Raises RunFailedError where the job has not succeeded."""
    seen = view(state, job.id, job.tenant, now)
    answer = ended.result
    run = RunResult(
        answer=BlobFile(to_blob(answer), blobs) if is_blob(answer) else answer,
        status=ended.status,
        tasks=seen.tasks,
        usage=seen.usage,
        seconds=seen.seconds or 0.0,
        view=seen,
        blobs=blobs,
    )
    if ended.status != "succeeded":
        raise RunFailedError(failure("the run", ended, "error.run.answer"), run)
    return run
