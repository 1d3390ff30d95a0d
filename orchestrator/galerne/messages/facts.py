"""The facts of a job's log: write-once events, the only source of truth.

Every fact has one subject, given by its type and ids, so writing it twice is impossible; only
`Claimed` is appended to, under optimistic concurrency. Times are Unix seconds.
"""

from typing import Any, Literal

import msgspec

from galerne.messages.chat import ChatMessage, TokenUsage
from galerne.messages.ids import JobId, TaskId, TenantId
from galerne.messages.plan import Outcome, Rejected, TaskSpec, Usage

Priority = Literal["high", "normal", "low"]
Lane = Literal["planner", "executor"]
"""The class of worker that serves a queue; with the priority it names a lane."""
JobStatus = Literal["succeeded", "failed", "cancelled"]

PRIORITIES: tuple[Priority, ...] = ("high", "normal", "low")
LANES: tuple[Lane, ...] = ("planner", "executor")


class Fact(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, tag_field="type"):
    """The base of every fact; `type` tells them apart on the wire."""


class JobSpec(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A user's request. `tools` limits what the job may call (None: every tool that is served)."""

    id: JobId
    tenant: TenantId
    goal: str
    key: str | None = None
    inputs: dict[str, Any] = {}
    tools: tuple[str, ...] | None = None
    priority: Priority = "normal"


class Submitted(Fact, frozen=True, tag="submitted"):
    job: JobSpec
    at: float


class Planned(Fact, frozen=True, tag="planned"):
    """Task number `n` (from 1) of revision `revision`, written while the planner still speaks."""

    revision: int
    n: int
    task: TaskSpec


class PlanEnded(Fact, frozen=True, tag="plan_ended"):
    revision: int
    count: int
    rejected: tuple[Rejected, ...] = ()


class Ready(Fact, frozen=True, tag="ready"):
    """A task whose needs are done, with all that its worker has to know; sourced into TASKS."""

    lane: Lane
    priority: Priority
    task: TaskSpec
    goal: str
    job_tools: tuple[str, ...] | None = None
    inputs: dict[str, Any] = {}
    max_attempts: int = 4


class Claimed(Fact, frozen=True, tag="claimed"):
    """`by` holds the task until `until` (the lease), as attempt number `attempt` (from 1).

    `note` says why a lease was given back (`until` is 0 then). `excused` counts the attempts that
    ended because a back end was away or asked for a pause; `away_since` is when that began.
    """

    task: TaskId
    by: str
    until: float
    attempt: int
    note: str | None = None
    excused: int = 0
    away_since: float | None = None


class ModelStep(Fact, frozen=True, tag="model_step"):
    """One finished model turn. `response_id` is the back end's; `latency_s` is in seconds."""

    task: TaskId
    n: int
    message: ChatMessage
    model: str
    finish: str
    usage: TokenUsage
    response_id: str = ""
    latency_s: float = 0.0


class ToolStep(Fact, frozen=True, tag="tool_step"):
    """One finished tool call: `content` is what the model reads, `value` the typed result.

    With `is_error`, `content` is the error's message and `value` its code.
    """

    task: TaskId
    n: int
    call_id: str
    tool: str
    content: str
    value: Any = None
    is_error: bool = False
    latency_s: float = 0.0


Step = ModelStep | ToolStep


class Done(Fact, frozen=True, tag="done"):
    task: TaskId
    outcome: Outcome
    usage: Usage
    by: str
    attempt: int
    at: float


class Cancelled(Fact, frozen=True, tag="cancelled"):
    why: str
    at: float


class Ended(Fact, frozen=True, tag="ended"):
    """The last fact of a job; `error` is one line where the status is not `succeeded`."""

    status: JobStatus
    usage: Usage
    at: float
    result: Any = None
    error: str | None = None


AnyFact = (
    Submitted
    | Planned
    | PlanEnded
    | Ready
    | Claimed
    | ModelStep
    | ToolStep
    | Done
    | Cancelled
    | Ended
)
