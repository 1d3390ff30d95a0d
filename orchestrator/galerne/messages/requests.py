"""What clients send: a job, or a command about one. Both go to a work queue and are never lost."""

from typing import Any

import msgspec

from galerne.messages.facts import Priority, Verdict
from galerne.messages.plan import Budget, TaskSpec


class Submit(
    msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, tag_field="type", tag="submit"
):
    """A job, published to `submit.<tenant>`.

    `job` is chosen by the sender; without it the id follows from `key` (`ids.job_id_of_key`).
    Sending the same id again is the same job. `deadline` is in Unix seconds; `approve` names tools
    whose calls wait for a person (`*`: every tool that has an effect). The others are as in
    `facts.JobSpec`.
    """

    goal: str
    job: str | None = None
    key: str | None = None
    inputs: dict[str, Any] = {}
    tools: tuple[str, ...] | None = None
    priority: Priority = "normal"
    budget: Budget | None = None
    deadline: float | None = None
    approve: tuple[str, ...] = ()
    plan: tuple[TaskSpec, ...] | None = None
    review: bool = False
    output: dict[str, Any] | None = None
    session: str | None = None
    revisions: int | None = None


class Cancel(
    msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, tag_field="type", tag="cancel"
):
    """Stop a job, published to `command.<tenant>`."""

    job: str
    why: str = "cancelled by its user"


class Decide(
    msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, tag_field="type", tag="decide"
):
    """A person's word on a question of a job, published to `command.<tenant>`.

    `task`, `n` and `round` are those of the `asked` fact; `approved` has to repeat its `hash`.
    """

    job: str
    task: str
    n: int
    round: int = 1
    verdict: Verdict
    hash: str | None = None
    value: Any = None
    why: str = ""
    by: str = ""


Command = Cancel | Decide
