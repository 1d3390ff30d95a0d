"""The facts of a job's log: write-once events, the only source of truth.

Every fact has one subject, given by its type and ids, so writing it twice is impossible; only
`Claimed` and `Accounted` are appended to, under optimistic concurrency. Times are Unix seconds.
"""

from typing import Any, Literal

import msgspec

from galerne.messages.chat import ChatMessage, TokenUsage
from galerne.messages.ids import JobId, TaskId, TenantId
from galerne.messages.plan import Budget, Outcome, Rejected, TaskSpec, Usage, WouldHave

Priority = Literal["high", "normal", "low"]
Lane = Literal["planner", "executor"]
"""The class of worker that serves a queue; with the priority it names a lane."""
JobStatus = Literal["succeeded", "failed", "cancelled", "budget_exhausted", "deadline_exceeded"]

PRIORITIES: tuple[Priority, ...] = ("high", "normal", "low")
LANES: tuple[Lane, ...] = ("planner", "executor")


class Fact(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, tag_field="type"):
    """The base of every fact; `type` tells them apart on the wire."""


class Turn(msgspec.Struct, frozen=True, omit_defaults=True):
    """A goal and what came of it, earlier in the same conversation. `job` is whose it was."""

    goal: str
    answer: str
    job: str = ""


class JobSpec(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A user's request. `tools` limits what the job may call (None: every tool that is served).

    `deadline` is in Unix seconds. `approve` names the tools whose calls wait for a person's word;
    `*` is every tool that has an effect. `plan` is carried out as it stands, without a planner.
    With `review` the plan waits for a person, who may change it. `output` is the JSON Schema of the
    result (None: text). `session` is the conversation that the job belongs to, `history` what was
    said there before it, oldest first. `revisions` is how often the plan may be revised (None: as
    the deployment says).
    """

    id: JobId
    tenant: TenantId
    goal: str
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
    history: tuple[Turn, ...] = ()
    revisions: int | None = None


class Submitted(Fact, frozen=True, tag="submitted"):
    """`ticket` is where its request in the queue is acknowledged, once the job is over."""

    job: JobSpec
    at: float
    ticket: str | None = None


class Planned(Fact, frozen=True, tag="planned"):
    """Task number `n` (from 1) of revision `revision`, written while the planner still speaks.

    A task of a nested plan names in `parent` the task that the plan is for; its revision is 1.
    """

    revision: int
    n: int
    task: TaskSpec
    parent: TaskId | None = None


class PlanEnded(Fact, frozen=True, tag="plan_ended"):
    """`count` is how many tasks the revision (or the nested plan of `parent`) has.

    A later revision does without the unfinished tasks that it names in `dropped`. `gave_up` is the
    reason, in one line, why what has failed cannot be mended.
    """

    revision: int
    count: int
    rejected: tuple[Rejected, ...] = ()
    parent: TaskId | None = None
    dropped: tuple[TaskId, ...] = ()
    gave_up: str | None = None


class Ready(Fact, frozen=True, tag="ready"):
    """A task whose needs are done, with all that its worker has to know; sourced into TASKS.

    `resume` counts the answers of people after which it was queued anew (0: the first time), and
    `again` how often that was repeated because the queue had lost it.
    `deadline` is in Unix seconds. `failed` are the failures that a task which plans anew is to
    mend; its `inputs` hold the plan as it stood. `review`: its plan is a draft for a person.
    `missing` is what an answer lacked that asked for the revision, and with `more` an answer may
    ask for one.
    """

    lane: Lane
    priority: Priority
    task: TaskSpec
    goal: str
    job_tools: tuple[str, ...] | None = None
    inputs: dict[str, Any] = {}
    max_attempts: int = 4
    budget: Budget | None = None
    deadline: float | None = None
    job_approve: tuple[str, ...] = ()
    resume: int = 0
    failed: tuple[TaskId, ...] = ()
    history: tuple[Turn, ...] = ()
    review: bool = False
    more: bool = False
    missing: str | None = None
    again: int = 0


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
    """One finished model turn. `response_id` is the back end's; `latency_s` is in seconds.

    `usd` is what it cost by the prices that its worker knows, which stand beside it in US dollars
    per million tokens. `complaint` and `notices` are the reply's (`chat.ChatReply`), so that a
    replay decides the same.
    """

    task: TaskId
    n: int
    message: ChatMessage
    model: str
    finish: str
    usage: TokenUsage
    response_id: str = ""
    latency_s: float = 0.0
    usd: float = 0.0
    input_price: float | None = None
    output_price: float | None = None
    complaint: str = ""
    notices: tuple[str, ...] = ()


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


class Moved(Fact, frozen=True, tag="moved"):
    """A task goes on with another model: its `n`-th move (from 1), before the first call there.

    Both models are named as the settings name them. `reason` is one line: what was wrong with the
    answers of the one that it leaves. `refused` is the step whose request that one could not take
    (None: it has answered); whoever goes on does not ask it again.
    """

    task: TaskId
    n: int
    from_model: str = msgspec.field(name="from")
    to_model: str = msgspec.field(name="to")
    reason: str
    at: float
    refused: int | None = None


class Done(Fact, frozen=True, tag="done"):
    task: TaskId
    outcome: Outcome
    usage: Usage
    by: str
    attempt: int
    at: float


Question = Literal["approval", "doubt", "question", "review"]
"""May this call be made; did this effect happen; an `ask` task's own; is this to be the plan."""
Verdict = Literal["approved", "denied", "answered", "happened", "not_happened", "expired"]


class Asked(Fact, frozen=True, kw_only=True, tag="asked"):
    """Something waits for a person, who names it by `<task>.<n>`.

    `n` is the step of the task (0: the task itself) and `round` counts the questions about it.
    `hash` is that of the arguments which an approval is bound to (`core.asks.arguments_hash`).
    `until` is in Unix seconds: afterwards the question counts as `expired` (None: never).
    """

    task: TaskId
    n: int
    round: int = 1
    what: Question
    question: str
    tool: str | None = None
    arguments: dict[str, Any] | None = None
    hash: str | None = None
    output: dict[str, Any] | None = None
    until: float | None = None
    at: float


class Decided(Fact, frozen=True, kw_only=True, tag="decided"):
    """What a person said to an `Asked` with the same `task`, `n` and `round`.

    `value` is the answer to a question, or the result of an effect that has happened.
    """

    task: TaskId
    n: int
    round: int = 1
    verdict: Verdict
    value: Any = None
    why: str = ""
    by: str = ""
    at: float


class Hold(msgspec.Struct, frozen=True):
    """What one model call may cost at most, from its reservation to its end.

    After `until` (Unix seconds) whoever reserved it is dead, and it counts as spent.
    """

    tokens: int
    usd: float
    until: float


class Accounted(Fact, frozen=True, tag="accounted"):
    """What a job with a budget has spent *and reserved*: running totals, the highest `n` counts.

    `held` are the open reservations by `<task>.<n>.<attempt>`; they are in the totals.
    """

    n: int = 0
    calls: int = 0
    tokens: int = 0
    usd: float = 0.0
    held: dict[str, Hold] = {}


class Cancelled(Fact, frozen=True, tag="cancelled"):
    why: str
    at: float


class Ended(Fact, frozen=True, tag="ended"):
    """The last fact of a job; `error` is one line where the status is not `succeeded`.

    `result` is the answer; where a budget or the time ran out, `{"results": {task: value}}` of the
    tasks that were finished. `would_have` is what its tokens had cost on the planner's model alone.
    `unsupported` are numbers and denials of the answer that no result of a tool says.
    """

    status: JobStatus
    usage: Usage
    at: float
    result: Any = None
    error: str | None = None
    would_have: WouldHave | None = None
    unsupported: tuple[str, ...] = ()


AnyFact = (
    Submitted
    | Planned
    | PlanEnded
    | Ready
    | Claimed
    | ModelStep
    | ToolStep
    | Moved
    | Done
    | Asked
    | Decided
    | Accounted
    | Cancelled
    | Ended
)
