"""Plans on request: a question to the service `galerne-plan`, answered in a stream to its inbox.

    plan_working ─▶ plan_task ─▶ plan_working ─▶ plan_task ─▶ … ─▶ plan_end

The first answer comes at once, and `plan_working` again whenever nothing else was said for a
while: who hears nothing for three times as long has been left. Nothing is stored on the way.
"""

from typing import Any

import msgspec

from galerne.messages.facts import Turn
from galerne.messages.plan import Rejected, TaskSpec, Usage


class PlanMessage(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, tag_field="type"):
    """The base of what travels between an asker and a planner."""


class AskPlan(PlanMessage, frozen=True, tag="plan"):
    """A goal to plan, sent to `galerne.plan` with an inbox as reply subject.

    `tools` are dicts as OpenAI-style APIs take them: `name`, `description`, `parameters` (JSON
    Schema, Draft 7), bare or under `function` (None: the tools that are served on the bus).
    `inputs` are JSON values that the plan may use, `history` earlier goals of the same
    conversation with their answers, oldest first.
    """

    goal: str
    tools: tuple[dict[str, Any], ...] | None = None
    inputs: dict[str, Any] = {}
    history: tuple[Turn, ...] = ()


class PlanWorking(PlanMessage, frozen=True, tag="plan_working"):
    """Somebody works on it. `by` is the worker, `heartbeat` the seconds until its next word."""

    by: str
    heartbeat: float


class PlanTask(PlanMessage, frozen=True, tag="plan_task"):
    """Task number `n` (from 1), sent the moment that the model has written it."""

    n: int
    task: TaskSpec


class PlanError(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why there is no whole plan: `code` as in `galerne.errors`, `message` one line.

    `retry_after` is in seconds, for what another try may mend (None: nobody knows how long).
    """

    code: str
    message: str
    retry_after: float | None = None


class PlanEnd(PlanMessage, frozen=True, tag="plan_end"):
    """The last word. `count` tasks were sent; with an `error` the plan is not whole.

    `rejected` is what the model wrote and nobody can use, `usage` what planning took.
    """

    count: int
    rejected: tuple[Rejected, ...] = ()
    usage: Usage = Usage()
    error: PlanError | None = None


PlanReply = PlanWorking | PlanTask | PlanEnd
