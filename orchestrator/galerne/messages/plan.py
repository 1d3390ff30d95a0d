"""One task of a plan, and how it ends."""

from typing import Any, Final, Literal

import msgspec

from galerne.messages.ids import TaskId

TaskKind = Literal["agent", "tool", "plan", "ask", "answer"]
"""agent: a model with tools; tool: one direct call; plan: a (nested) plan; ask: a person answers;
answer: the job's closing synthesis, which only the coordinator creates."""
ModelClass = Literal["small", "medium", "large"]
"""The executor's own model, the one above it on the ladder, the ladder's last."""
Effort = Literal["low", "medium", "high"]
"""How many turns a model may take for a task: a few, the usual number, twice that."""


class TaskSpec(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A node of the graph. It may start when every task in `needs` has succeeded.

    `tools` names what an agent task may call (None: whatever the job allows). `tool` and `args`
    belong to a tool task; inside `args`, `{"$ref": "2.words"}` stands for a field of task 2's
    result and `{{2}}` inside a text for the result itself. `timeout` is in seconds from the moment
    that the task may start. With `approve` a person is asked before it starts. `output` is the JSON
    Schema of the value that a person gives to an `ask` task (None: any JSON value), or that the
    model of an agent task answers with (None: text). `check` names what the text of an agent task
    has to pass (`core.validators`).

    With `foreach`, a list or a `{"$ref": …}` to one, the task is done once for each element; in it
    `{"$ref": "item"}` and `{{item}}` are that element, and its value is the list of the values.
    `model` and `effort` say what an agent task begins with (None: small, medium). A task of a
    later revision `replaces` one that has not succeeded: what needs that one then needs this one.
    """

    id: TaskId
    kind: TaskKind = "agent"
    instruction: str = ""
    needs: tuple[TaskId, ...] = ()
    tools: tuple[str, ...] | None = None
    tool: str | None = None
    args: dict[str, Any] | None = None
    timeout: float | None = None
    approve: bool = False
    output: dict[str, Any] | None = None
    check: str | None = None
    foreach: Any = None
    model: ModelClass | None = None
    effort: Effort | None = None
    replaces: TaskId | None = None


Standing = Literal["succeeded", "failed", "running", "waiting"]


class TaskSoFar(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A task as whoever plans anew sees it, with its result or error shortened.

    The `ready` fact of a revision holds these in `inputs["plan"]`, in plan order. `stands_for` are
    the tasks that earlier revisions have replaced by it: by their ids, too, it may be needed.
    """

    task: TaskSpec
    standing: Standing
    result: Any = None
    error: str | None = None
    stands_for: tuple[TaskId, ...] = ()


class Budget(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a job may spend at most; None: no limit.

    `usd` is in US dollars, `tokens` counts prompts and answers, `calls` model calls that were
    begun, `tasks` the first so many tasks of the plan, `seconds` the time since it was submitted.
    """

    usd: float | None = None
    tokens: int | None = None
    calls: int | None = None
    tasks: int | None = None
    seconds: float | None = None

    @property
    def is_spent_by_models(self) -> bool:
        """Whether a model call must be reserved before it is made."""
        return any(limit is not None for limit in (self.usd, self.tokens, self.calls))


class Rejected(msgspec.Struct, frozen=True, omit_defaults=True):
    """A task that the planner wrote and that cannot be used, with the reason."""

    reason: str
    text: str
    id: str | None = None


class Succeeded(msgspec.Struct, frozen=True, omit_defaults=True, tag="succeeded"):
    """`value` is any JSON value; for an agent task it is the model's closing text.

    `unsupported` are numbers and denials in it that no result of a tool says.
    """

    value: Any
    unsupported: tuple[str, ...] = ()


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """`code` is the error's (`galerne.errors`); `message` is one line for a person."""

    code: str
    message: str


Outcome = Succeeded | Failed

DROPPED: Final = "dropped"
"""The code of a task that a later revision of the plan does without."""


class ModelUsage(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one model has cost so far; `usd` by the prices of the settings of its worker.

    Those prices, in US dollars per million tokens, are beside it (None: not known; of several the
    highest).
    """

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float = 0.0
    input_price: float | None = None
    output_price: float | None = None

    def plus(self, other: "ModelUsage") -> "ModelUsage":
        return ModelUsage(
            calls=self.calls + other.calls,
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
            usd=self.usd + other.usd,
            input_price=_higher(self.input_price, other.input_price),
            output_price=_higher(self.output_price, other.output_price),
        )


def _higher(one: float | None, other: float | None) -> float | None:
    return max((price for price in (one, other) if price is not None), default=None)


class Usage(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a task or a job has used, by model name."""

    models: dict[str, ModelUsage] = {}
    tool_calls: int = 0

    def plus(self, other: "Usage") -> "Usage":
        models = dict(self.models)
        for name, used in other.models.items():
            models[name] = models.get(name, ModelUsage()).plus(used)
        return Usage(models=models, tool_calls=self.tool_calls + other.tool_calls)

    @property
    def tokens(self) -> int:
        return sum(m.prompt_tokens + m.completion_tokens for m in self.models.values())

    @property
    def model_calls(self) -> int:
        return sum(m.calls for m in self.models.values())

    @property
    def usd(self) -> float:
        return sum(m.usd for m in self.models.values())


class WouldHave(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a job's tokens had cost on one model alone, the one that planned it.

    `usd` is by that model's prices; None where it has none, as one's own machine may: then only
    the tokens can be compared.
    """

    model: str
    usd: float | None = None
