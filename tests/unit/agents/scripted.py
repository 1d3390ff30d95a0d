"""A task context that journals as the runtime does, and can be killed at any point.

A `World` is what outlives a worker: the step facts, the plan's facts and the model. A
`ScriptedContext` is one attempt in it. Asking or calling what is already journaled replays it by
step number; another kind of step at that number is a failure of the test. Every piece of text,
every write and every journaled step is a point at which the attempt may be killed.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from galerne.messages.chat import ChatMessage, ChatReply, ChatRequest, TokenUsage, ToolCall
from galerne.messages.facts import (
    AnyFact,
    ModelStep,
    Moved,
    PlanEnded,
    Planned,
    Ready,
    Step,
    ToolStep,
)
from galerne.messages.ids import DEFAULT_TENANT, JobId, TaskId, TenantId
from galerne.messages.plan import TaskSpec
from galerne.messages.tools import ToolOutcome, ToolRefused, ToolResult, ToolSpec
from galerne.planner import Prompts

Answerer = Callable[[ChatRequest], ChatReply]


class Killed(BaseException):
    """The worker is gone; an agent cannot catch it."""


def says(text: str, finish: str = "stop") -> ChatReply:
    return ChatReply(ChatMessage("assistant", text), "a-model", finish, TokenUsage(3, 2))


def unusable(complaint: str, *calls: ToolCall) -> ChatReply:
    """An answer of which only `calls` can be used."""
    return ChatReply(ChatMessage("assistant", tool_calls=calls), "a-model", complaint=complaint)


def calls(*calls: ToolCall) -> ChatReply:
    return ChatReply(ChatMessage("assistant", tool_calls=calls), "a-model", "tool_calls")


def call(name: str, arguments: str = "{}", call_id: str = "abcdefgh1") -> ToolCall:
    return ToolCall(call_id, name, arguments)


def script(*replies: ChatReply) -> Answerer:
    """A model that gives these replies in order, and fails where more are wanted."""
    rest = list(replies)

    def answer(_: ChatRequest) -> ChatReply:
        assert rest, "the model was asked more often than scripted"
        return rest.pop(0)

    return answer


class World:
    def __init__(
        self,
        ready: Ready,
        model: Answerer,
        tools: Sequence[ToolSpec] = (),
        outcomes: Iterable[ToolOutcome] = (),
    ) -> None:
        self.ready = ready
        self.model = model
        self.tools = list(tools)
        self.outcomes = list(outcomes)
        self.steps: dict[int, Step] = {}
        self.plan: dict[int, Planned] = {}
        self.ended: list[PlanEnded] = []
        self.requests: list[ChatRequest] = []
        self.called: list[tuple[str, str, dict[str, Any]]] = []
        self.attempts = 0
        self.larger: list[str] = []
        """The models of the ladder above the first, which is `a-model`."""
        self.moves: dict[int, Moved] = {}
        self.asked_on: list[str] = []
        """The model of each request."""

    def attempt(self, kill_at: int | None = None) -> "ScriptedContext":
        self.attempts += 1
        return ScriptedContext(self, kill_at, self.attempts)


class ScriptedContext:
    job = JobId("job")
    tenant: TenantId = DEFAULT_TENANT
    prompts = Prompts()

    def __init__(self, world: World, kill_at: int | None, attempt: int) -> None:
        self.world = world
        self.attempt = attempt
        self.points = 0
        self._kill_at = kill_at
        self._step = 0
        self._moved = 0
        self._model = "a-model"

    @property
    def ready(self) -> Ready:
        return self.world.ready

    def _point(self) -> None:
        if self.points == self._kill_at:
            raise Killed
        self.points += 1

    async def ask(
        self, request: ChatRequest, on_text: Callable[[str], None] | None = None
    ) -> ChatReply:
        self._step += 1
        if (step := self.world.steps.get(self._step)) is not None:
            assert isinstance(step, ModelStep), f"step {self._step} was {step}"
            if on_text is not None and step.message.content:
                on_text(step.message.content)
            return ChatReply(
                step.message, step.model, step.finish, step.usage, complaint=step.complaint
            )
        self._point()
        self.world.requests.append(request)
        self.world.asked_on.append(self._model)
        reply = self.world.model(request)
        text = reply.message.content if on_text is not None else ""
        for at in range(0, len(text), 17):
            self._point()
            assert on_text is not None
            on_text(text[at : at + 17])
        self._point()
        self.world.steps[self._step] = ModelStep(
            task=self.ready.task.id,
            n=self._step,
            message=reply.message,
            model=reply.model,
            finish=reply.finish,
            usage=reply.usage,
            complaint=reply.complaint,
        )
        self._point()
        return reply

    async def move(self, reason: str) -> Moved | None:
        n = self._moved + 1
        if n not in self.world.moves:
            places = ["a-model", *self.world.larger]
            above = places[places.index(self._model) + 1 :]
            if not above:
                return None
            self._point()
            self.world.moves[n] = Moved(
                task=self.ready.task.id,
                n=n,
                from_model=self._model,
                to_model=above[0],
                reason=reason,
                at=0.0,
            )
            self._point()
        self._moved, self._model = n, self.world.moves[n].to_model
        return self.world.moves[n]

    async def start_above(self, reason: str) -> Moved | None:
        known = self.world.moves.get(self._moved + 1)
        if known.reason != reason if known is not None else bool(self.world.steps):
            return None
        return await self.move(reason)

    async def call(self, call_id: str, tool: str, arguments: dict[str, Any]) -> ToolOutcome:
        self._step += 1
        step = self.world.steps.get(self._step)
        if step is None:
            self._point()
            self.world.called.append((call_id, tool, arguments))
            step = _tool_step(self.ready.task.id, self._step, call_id, tool, self.world.outcomes)
            self.world.steps[self._step] = step
            self._point()
        assert isinstance(step, ToolStep), f"step {self._step} was {step}"
        assert (step.call_id, step.tool) == (call_id, tool)
        if step.is_error:
            return ToolRefused(code=step.value, message=step.content)
        return ToolResult(value=step.value, content=step.content)

    async def tools(self) -> Sequence[ToolSpec]:
        return tuple(self.world.tools)

    async def planned(self) -> Sequence[Planned]:
        return [self.world.plan[n] for n in sorted(self.world.plan)]

    def write(self, fact: AnyFact) -> None:
        self._point()
        match fact:
            case Planned(n=n):
                assert n not in self.world.plan, f"{fact} conflicts with {self.world.plan[n]}"
                self.world.plan[n] = fact
            case PlanEnded():
                self.world.ended.append(fact)
            case _:
                raise AssertionError(f"an agent does not write {fact}")
        self._point()


def _tool_step(
    task: TaskId, n: int, call_id: str, tool: str, outcomes: list[ToolOutcome]
) -> ToolStep:
    assert outcomes, f"{tool} was called more often than scripted"
    match outcomes.pop(0):
        case ToolResult(value=value, content=content):
            return ToolStep(
                task=task, n=n, call_id=call_id, tool=tool, content=content, value=value
            )
        case ToolRefused(code=code, message=message):
            return ToolStep(
                task=task,
                n=n,
                call_id=call_id,
                tool=tool,
                content=message,
                value=code,
                is_error=True,
            )


def ready(task: TaskSpec, **fields: Any) -> Ready:
    fields.setdefault("goal", "the goal")
    return Ready(lane="executor", priority="normal", task=task, **fields)
