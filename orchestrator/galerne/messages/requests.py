"""What clients send: a job, or a command about one. Both go to a work queue and are never lost."""

from typing import Any

import msgspec

from galerne.messages.facts import Priority


class Submit(
    msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, tag_field="type", tag="submit"
):
    """A job, published to `submit.<tenant>`.

    `job` is chosen by the sender; without it the id follows from `key` (`ids.job_id_of_key`).
    Sending the same id again is the same job.
    """

    goal: str
    job: str | None = None
    key: str | None = None
    inputs: dict[str, Any] = {}
    tools: tuple[str, ...] | None = None
    priority: Priority = "normal"


class Cancel(
    msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, tag_field="type", tag="cancel"
):
    """Stop a job, published to `command.<tenant>`."""

    job: str
    why: str = "cancelled by its user"


Command = Cancel
