"""Every subject, made and read in this one place.

Under the prefix (default `galerne`): `submit`, `command`, `plan`, `ev` (the log), `task` (the
lanes), `tool` (calls), `tj` (tool journal), `session` (conversations), `live` (what happens now),
`presence`, `quarantine`.
"""

import zlib

import msgspec

from galerne.errors import InvalidMessageError
from galerne.messages.facts import (
    Accounted,
    AnyFact,
    Asked,
    Cancelled,
    Claimed,
    Decided,
    Done,
    Ended,
    Lane,
    ModelStep,
    Moved,
    PlanEnded,
    Planned,
    Priority,
    Ready,
    Submitted,
    ToolStep,
)
from galerne.messages.ids import JobId, TaskId, TenantId, above, below, is_id, revision_of


class JobAddress(msgspec.Struct, frozen=True):
    """Where a job's facts live: `ev.<part>.<tenant>.<job>`."""

    part: int
    tenant: TenantId
    job: JobId


class TaskAddress(msgspec.Struct, frozen=True):
    """A task on a lane: `task.<lane>.<priority>.<tenant>.<job>.<task>`."""

    lane: str
    priority: str
    tenant: TenantId
    job: JobId
    task: TaskId


def part_of(job: str, partitions: int) -> int:
    """CRC-32 of the job's id modulo the number of partitions: any language has it."""
    return zlib.crc32(job.encode()) % partitions


def fact_name(fact: AnyFact) -> str:  # noqa: C901, PLR0912 - one case a fact
    """The tokens after the job in a fact's subject."""
    match fact:
        case Submitted():
            return "submitted"
        case Planned(n=n, parent=str(parent)):
            return f"nested.{parent}.{n}"
        case PlanEnded(parent=str(parent)):
            return f"nested.{parent}.end"
        case Planned(revision=revision, n=n):
            return f"plan.{revision}.{n}"
        case PlanEnded(revision=revision):
            return f"plan.{revision}.end"
        case Ready(lane=lane, priority=priority, task=task, resume=resume, again=again) if again:
            return f"resume.{lane}.{priority}.{task.id}.{resume}-{again}"
        case Ready(lane=lane, priority=priority, task=task, resume=0):
            return f"ready.{lane}.{priority}.{task.id}"
        case Ready(lane=lane, priority=priority, task=task, resume=resume):
            return f"resume.{lane}.{priority}.{task.id}.{resume}"
        case Claimed(task=task_id):
            return f"run.{task_id}"
        case ModelStep(task=task_id, n=n) | ToolStep(task=task_id, n=n):
            return f"step.{task_id}.{n}"
        case Moved(task=task_id, n=n):
            return f"moved.{task_id}.{n}"
        case Done(task=task_id):
            return f"done.{task_id}"
        case Asked(task=task_id, n=n, round=round_):
            return f"ask.{task_id}.{n}.{round_}"
        case Decided(task=task_id, n=n, round=round_):
            return f"decided.{task_id}.{n}.{round_}"
        case Accounted():
            return "account"
        case Cancelled():
            return "cancel"
        case Ended():
            return "end"


def planned_names(task: TaskId) -> str:
    """The names of what a planning task writes: `plan-2` and `4--plan` write `plan.2`, `nested.4`.

    Raises InvalidMessageError for any other task.
    """
    parent = above(task)
    if parent is not None and task == below(parent, "plan"):
        return f"nested.{parent}.>"
    return f"plan.{revision_of(task)}.>"


class Subjects:
    """The subjects under one prefix."""

    def __init__(self, prefix: str, partitions: int) -> None:
        if not all(is_id(token) for token in prefix.split(".")):
            raise InvalidMessageError(f"the prefix {prefix!r} is not made of plain tokens")
        self.prefix = prefix
        self.partitions = partitions
        self._events_tokens = len(prefix.split(".")) + 1

    # streams and consumers

    def stream(self, name: str) -> str:
        """A stream's name: `EVENTS` under `galerne` is `GALERNE_EVENTS`."""
        return f"{self.prefix.replace('.', '_').upper()}_{name}"

    # requests

    def submit(self, tenant: str = "*") -> str:
        return f"{self.prefix}.submit.{tenant}"

    def command(self, tenant: str = "*") -> str:
        return f"{self.prefix}.command.{tenant}"

    def plan(self) -> str:
        """Where a plan is asked for (`messages.planning`)."""
        return f"{self.prefix}.plan"

    # the log

    def address(self, tenant: TenantId, job: JobId) -> JobAddress:
        return JobAddress(part_of(job, self.partitions), tenant, job)

    def job(self, address: JobAddress, rest: str = ">") -> str:
        return f"{self.prefix}.ev.{address.part}.{address.tenant}.{address.job}.{rest}"

    def fact(self, address: JobAddress, fact: AnyFact) -> str:
        return self.job(address, fact_name(fact))

    def events(self, part: str = "*", tenant: str = "*", job: str = "*", rest: str = ">") -> str:
        return f"{self.prefix}.ev.{part}.{tenant}.{job}.{rest}"

    def parse_event(self, subject: str) -> tuple[JobAddress, str]:
        """The job and the fact's name in a subject of the log. Raises InvalidMessageError."""
        tokens = subject.split(".")
        head = self._events_tokens
        if len(tokens) < head + 4 or not subject.startswith(f"{self.prefix}.ev."):
            raise InvalidMessageError(f"{subject[:200]!r} is not a subject of the log")
        part, tenant, job, *name = tokens[head:]
        if not all(is_id(token) for token in (tenant, job, *name)):
            raise InvalidMessageError(f"{subject[:200]!r} has a token that is no id")
        right = part_of(job, self.partitions)
        if part != str(right):  # compared as text: 07 would be a second place for the same fact
            raise InvalidMessageError(f"{subject[:200]!r} is in the wrong part of the log")
        return JobAddress(right, TenantId(tenant), JobId(job)), ".".join(name)

    # lanes

    def task(
        self, lane: Lane | str, priority: Priority | str, tenant: str = "*", rest: str = ">"
    ) -> str:
        return f"{self.prefix}.task.{lane}.{priority}.{tenant}.{rest}"

    def parse_task(self, subject: str) -> TaskAddress:
        """Raises InvalidMessageError."""
        tokens = subject.split(".")
        head = self._events_tokens
        ids = all(is_id(token) for token in tokens[head:])
        if len(tokens) != head + 5 or not ids or not subject.startswith(f"{self.prefix}.task."):
            raise InvalidMessageError(f"{subject[:200]!r} is not a subject of a lane")
        lane, priority, tenant, job, task = tokens[head:]
        return TaskAddress(lane, priority, TenantId(tenant), JobId(job), TaskId(task))

    # tools

    def tool(self, name: str, route: str = "") -> str:
        """Where a tool is called: any version of it, or the one that has announced `route`."""
        return f"{self.prefix}.tool.{name}.{route}" if route else f"{self.prefix}.tool.{name}"

    def tool_journal(self, tenant: str, key: str, entry: str, round_: int = 0) -> str:
        """`entry` is `claim` (appended to) or `result` (write-once), of a round of the call."""
        token = f"{entry}-{round_}" if round_ else entry
        return f"{self.prefix}.tj.{tenant}.{key}.{token}"

    def tool_journals(self, tenant: str, job: str) -> str:
        """Everything that tools have journaled for a job: keys begin with it."""
        return f"{self.prefix}.tj.{tenant}.{job}.>"

    # conversations

    def said(self, tenant: str = "*", session: str = "*", job: str = "*") -> str:
        """What a job has added to a session."""
        return f"{self.prefix}.session.{tenant}.{session}.{job}"

    # live

    def live(self, tenant: str, job: str, rest: str = ">") -> str:
        return f"{self.prefix}.live.{tenant}.{job}.{rest}"

    def delta(self, tenant: str, job: str, task: str) -> str:
        return self.live(tenant, job, f"delta.{task}")

    def progress(self, tenant: str, job: str, task: str) -> str:
        return self.live(tenant, job, f"progress.{task}")

    def presence(self, role: str) -> str:
        return f"{self.prefix}.presence.{role}"

    def presence_query(self, role: str) -> str:
        """Whoever has that role answers with its presence at once."""
        return f"{self.prefix}.presence_query.{role}"

    def pace(self, endpoint: str = ">", worker: str | None = None) -> str:
        """A worker's key for an endpoint, in the bucket of `pace_bucket`."""
        key = endpoint if worker is None else f"{endpoint}.{worker}"
        return f"$KV.{self.pace_bucket}.{key}"

    @property
    def pace_bucket(self) -> str:
        """The key-value bucket in which workers divide what model endpoints allow."""
        return self.stream("PACE")

    def quarantine(self, origin: str) -> str:
        return f"{self.prefix}.quarantine.{origin}"
