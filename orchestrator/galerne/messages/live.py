"""What is only seen while it happens: never stored, lost when nobody listens."""

import msgspec

from galerne.messages.ids import TaskId


class Delta(
    msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, tag_field="type", tag="delta"
):
    """A piece of what a model is saying, on `live.<tenant>.<job>.delta.<task>`."""

    task: TaskId
    attempt: int
    text: str


class Progress(
    msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, tag_field="type", tag="progress"
):
    """How far a tool is that a task has called, on `live.<tenant>.<job>.progress.<task>`.

    `n` is the step of the task. `note` is one line, `fraction` from 0 to 1; either may be absent.
    """

    task: TaskId
    n: int
    tool: str
    note: str = ""
    fraction: float | None = None


Live = Delta | Progress
"""What a reader of a job may be shown beside its facts."""


class CoordinatorPresent(
    msgspec.Struct,
    frozen=True,
    omit_defaults=True,
    kw_only=True,
    tag_field="type",
    tag="coordinator_present",
):
    """A coordinator's heartbeat on `presence.coordinator`; `leaving` is its last one."""

    worker: str
    leaving: bool = False


class Quarantined(
    msgspec.Struct,
    frozen=True,
    omit_defaults=True,
    kw_only=True,
    tag_field="type",
    tag="quarantined",
):
    """A message that could not be used, kept whole: `data` is base64 on the wire."""

    subject: str
    error: str
    data: bytes
    by: str
    at: float
