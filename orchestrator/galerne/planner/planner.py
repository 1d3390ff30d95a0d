"""The planner as a library: a goal and tools in, tasks out. No bus, nothing stored, no globals.

The model speaks in a task of its own; each JSON object that closes is handed over at once, so
the first task is there long before the last one is written. That task belongs to `PlanStream`,
and leaving its `async with` closes the connection to the model, whatever the reason.
"""

import math
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from typing import Any, Protocol, Self

import anyio

from galerne.errors import BadAnswerError
from galerne.messages.chat import ChatReply, ChatRequest
from galerne.messages.plan import ModelUsage, Rejected, TaskSpec, Usage
from galerne.messages.tools import ToolSpec
from galerne.models import ModelClient
from galerne.planner.conversation import PlanBrief, converse
from galerne.planner.plan import Plan
from galerne.settings import RoleSettings


class HasSpec(Protocol):
    """A tool object: whatever says what a model is told about it."""

    @property
    def spec(self) -> ToolSpec: ...


class Model(Protocol):
    """What the planner needs of a model's client."""

    async def ask(
        self, request: ChatRequest, *, on_text: Callable[[str], None] | None = None
    ) -> ChatReply: ...


Connect = Callable[[RoleSettings], AbstractAsyncContextManager[Model]]


class Planner:
    """Plans with one model. It holds no connection: each plan opens its own and closes it."""

    def __init__(
        self,
        endpoint: str,
        model: str = "mixtral-8x22b",
        *,
        api_key: str | None = None,
        timeout: float = 120.0,
        max_tokens: int = 4096,
        connect: Connect = ModelClient,
    ) -> None:
        """`endpoint`: base URL of an OpenAI-style API; `timeout`: seconds for one answer.

        `connect` opens a client; give your own to plan over something else than HTTP.
        """
        self._connect = connect
        self._settings = RoleSettings(
            endpoint=endpoint, model=model, api_key=api_key, timeout=timeout, max_tokens=max_tokens
        )

    def open(
        self,
        goal: str,
        tools: Sequence[ToolSpec | HasSpec] = (),
        inputs: Mapping[str, Any] | None = None,
    ) -> "PlanStream":
        """A plan to follow: enter it with `async with`, then iterate over its tasks.

        Iterating raises BadAnswerError when no usable task came, and what the endpoint caused:
        ModelError, RateLimitedError, UnavailableError, DeadlineError.
        """
        specs = tuple(tool if isinstance(tool, ToolSpec) else tool.spec for tool in tools)
        return PlanStream(self._connect(self._settings), PlanBrief(goal, specs, inputs))

    async def stream(
        self, goal: str, tools: Sequence[ToolSpec | HasSpec] = ()
    ) -> AsyncGenerator[TaskSpec, None]:
        """Each task the moment its JSON object closes. Raises as iterating `open` does.

        Like every async generator that holds a connection it has to be closed by whoever leaves
        it early: wrap it in `contextlib.aclosing`, or use `open`.
        """
        async with self.open(goal, tools) as tasks:
            async for task in tasks:
                yield task

    async def plan(self, goal: str, tools: Sequence[ToolSpec | HasSpec] = ()) -> Plan:
        """The whole plan, after one repair of what could not be used. Raises as `open` does."""
        async with self.open(goal, tools) as stream:
            tasks = [task async for task in stream]
            return Plan(tuple(tasks), stream.rejected, stream.usage)


class PlanStream:
    """One plan under way: an async context manager, and inside it an async iterator of tasks.

    Once the iteration has ended, `rejected` says what stayed unusable and `usage` what it took.
    """

    def __init__(self, client: AbstractAsyncContextManager[Model], brief: PlanBrief) -> None:
        self.rejected: tuple[Rejected, ...] = ()
        self.usage = Usage()
        self._client = client
        self._brief = brief
        self._count = 0
        self._failure: Exception | None = None
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self._tasks_in, self._tasks = anyio.create_memory_object_stream[TaskSpec](math.inf)
        async with AsyncExitStack() as stack:
            stack.enter_context(self._tasks)
            stack.enter_context(self._tasks_in)
            model = await stack.enter_async_context(self._client)
            group = await stack.enter_async_context(anyio.create_task_group())
            stack.callback(group.cancel_scope.cancel)
            group.start_soon(self._speak, model)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        # The body's own error is not shown to the task group, which would wrap it in a group.
        await self._stack.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> TaskSpec:
        with suppress(anyio.EndOfStream):
            return await self._tasks.receive()
        if self._failure is not None:
            raise self._failure
        raise StopAsyncIteration

    async def _speak(self, model: Model) -> None:
        """Plan to the end; what goes wrong is raised where the tasks are awaited."""

        async def ask(request: ChatRequest, on_text: Callable[[str], None]) -> ChatReply:
            reply = await model.ask(request, on_text=on_text)
            self.usage = self.usage.plus(_usage(reply))
            return reply

        with self._tasks_in:
            try:
                self.rejected = await converse(ask, self._brief, self._hand_over)
            except Exception as error:  # noqa: BLE001 - handed to the one who iterates
                self._failure = error
                return
            if not self._count:
                self._failure = BadAnswerError(no_task(self.rejected))

    def _hand_over(self, task: TaskSpec) -> None:
        self._count += 1
        self._tasks_in.send_nowait(task)


def no_task(rejected: Sequence[Rejected]) -> str:
    """The sentence for a plan without any task."""
    why = rejected[0].reason if rejected else "it wrote nothing"
    return f"the planner's model wrote no usable task ({why}); try another model or goal"


def _usage(reply: ChatReply) -> Usage:
    used = ModelUsage(1, reply.usage.prompt_tokens, reply.usage.completion_tokens)
    return Usage({reply.model: used})
