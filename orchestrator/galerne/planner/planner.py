"""The planner as a library: a goal and tools in, tasks out. No bus, nothing stored, no globals.

The model speaks in a task of its own; each JSON object that closes is handed over at once, so
the first task is there long before the last one is written. That task belongs to `PlanStream`,
and leaving its `async with` closes the connection to the model, whatever the reason. A
`TaskStream` is the same plan for a bare `async for`: it is left without a word, so its reader
ends when the stream is closed, cancelled or dropped.
"""

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from functools import partial
from typing import Any, Protocol, Self

import anyio
import anyio.lowlevel

from galerne.errors import BadAnswerError
from galerne.messages.chat import ChatReply, ChatRequest
from galerne.messages.facts import Turn
from galerne.messages.plan import ModelUsage, Rejected, TaskSpec, Usage
from galerne.models import open_model
from galerne.planner.conversation import PlanBrief, converse
from galerne.planner.given import AnyTool, check_goal, check_inputs, tool_specs, turns
from galerne.planner.plan import Plan
from galerne.planner.prompt import PACKAGED
from galerne.planner.prompts import Prompts
from galerne.settings import Backend, RoleSettings


class Model(Protocol):
    """What the planner needs of a model's client."""

    async def ask(
        self, request: ChatRequest, *, on_text: Callable[[str], None] | None = None
    ) -> ChatReply: ...


READER = "galerne: a plan's reader"
"""The name of the asyncio task behind a `TaskStream`."""

_CLOSING = 5.0  # seconds; a client closes in far less, and whoever leaves is not held up for more

Connect = Callable[[RoleSettings], AbstractAsyncContextManager[Model]]
_Heard = asyncio.Queue[TaskSpec | BaseException | None]


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
        backend: Backend = "auto",
        connect: Connect = open_model,
        prompts: Prompts = PACKAGED,
    ) -> None:
        """`endpoint`: base URL of an OpenAI-style API; `timeout`: seconds for one answer.

        `backend` is what kind of server it is; with `auto`, one that its address does not tell
        is asked for its list of models first, once a plan.
        `connect` opens a client; give your own to plan over something else than HTTP. `prompts`
        are texts of yours in place of ours (`prompts_of`).
        """
        self._prompts = prompts
        self._connect = connect
        self._settings = RoleSettings(
            endpoint=endpoint,
            model=model,
            api_key=api_key,
            timeout=timeout,
            max_tokens=max_tokens,
            backend=backend,
        )

    def open(
        self,
        goal: str,
        tools: Sequence[AnyTool] = (),
        inputs: Mapping[str, Any] | None = None,
        history: Sequence[Turn] = (),
    ) -> "PlanStream":
        """A plan to follow: enter it with `async with`, then iterate over its tasks.

        `tools` are `ToolSpec`, `@tool` functions or dicts in OpenAI's form; `inputs` are JSON
        values by name; `history` is what was said in this conversation before, oldest first.

        Raises InvalidInputError at once when the goal, a tool or the inputs cannot be used.
        Iterating raises BadAnswerError when no usable task came, and what the endpoint caused:
        ModelError, RateLimitedError, UnavailableError, DeadlineError.
        """
        brief = _brief(goal, tools, inputs, history, self._prompts)
        return PlanStream(self._connect(self._settings), brief)

    def stream(
        self,
        goal: str,
        tools: Sequence[AnyTool] = (),
        inputs: Mapping[str, Any] | None = None,
        history: Sequence[Turn] = (),
    ) -> "TaskStream":
        """Each task the moment its JSON object closes. Raises as `open` and iterating it do.

        Leaving the loop early closes the connection to the model soon after; `open` and
        `contextlib.aclosing` have it closed by the time that their block has ended.
        """
        return TaskStream(self.open(goal, tools, inputs, history))

    async def plan(
        self,
        goal: str,
        tools: Sequence[AnyTool] = (),
        inputs: Mapping[str, Any] | None = None,
        history: Sequence[Turn] = (),
    ) -> Plan:
        """The whole plan, after one repair of what could not be used. Raises as `open` does."""
        async with self.open(goal, tools, inputs, history) as stream:
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
                planning = await converse(ask, self._brief, self._hand_over)
                self.rejected = planning.rejected
            except Exception as error:  # noqa: BLE001 - handed to the one who iterates
                self._failure = error
                return
            if not self._count:
                self._failure = BadAnswerError(no_task(self.rejected))

    def _hand_over(self, task: TaskSpec) -> None:
        self._count += 1
        self._tasks_in.send_nowait(task)


class TaskStream:
    """The tasks of one plan, for a bare `async for` that may be left in any way and at any time.

    A generator would hold the task group of `PlanStream` across its yields, and the event loop
    finalises a dropped generator in another task, where no task group may be left. So the group
    lives and ends in a reader of its own, which this object starts, owns and cancels. Nobody
    awaits an object that is dropped, so the reader can belong to no scope but the event loop's.
    """

    def __init__(self, plan: PlanStream) -> None:
        self._plan = plan
        self._heard: _Heard = asyncio.Queue()
        self._reader: asyncio.Task[None] | None = None
        self._closed = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> TaskSpec:
        if self._closed:
            raise StopAsyncIteration
        if self._reader is None:
            self._reader = _start(self._plan, self._heard)
        try:
            await anyio.lowlevel.checkpoint()
            heard = await self._heard.get()
        except asyncio.CancelledError:
            await self.aclose()
            raise
        if isinstance(heard, TaskSpec):
            return heard
        self._heard.put_nowait(None)  # the end stays the end for whoever asks again
        if heard is None or self._closed:
            raise StopAsyncIteration
        raise heard

    async def aclose(self) -> None:
        """Close the connection to the model and end the iteration; a second time does nothing."""
        self._closed = True
        if self._reader is not None and not self._reader.done():
            self._reader.cancel()
            with anyio.move_on_after(_CLOSING, shield=True):
                await asyncio.wait({self._reader})

    def __del__(self) -> None:
        reader = self._reader
        if reader is not None and not reader.done():
            # The garbage collector runs in any thread; a closed loop has ended its tasks itself.
            with suppress(RuntimeError):
                reader.get_loop().call_soon_threadsafe(reader.cancel)


def _start(plan: PlanStream, heard: _Heard) -> asyncio.Task[None]:
    """The reader. It does not know the stream that owns it: else that would never be dropped."""
    reader = asyncio.get_running_loop().create_task(_read(plan, heard), name=READER)
    reader.add_done_callback(partial(_end, heard))
    return reader


async def _read(plan: PlanStream, heard: _Heard) -> None:
    async with plan:
        async for task in plan:
            heard.put_nowait(task)


def _end(heard: _Heard, reader: asyncio.Task[None]) -> None:
    # A reader that somebody else cancelled must not look like a plan that is whole.
    cancelled = reader.cancelled()
    heard.put_nowait(asyncio.CancelledError() if cancelled else reader.exception())


def _brief(
    goal: str,
    tools: Sequence[AnyTool],
    inputs: Mapping[str, Any] | None,
    history: Sequence[Turn],
    prompts: Prompts,
) -> PlanBrief:
    """What a host service gave, checked: nothing is asked of the model before this."""
    return PlanBrief(
        goal=check_goal(goal),
        tools=tool_specs(tools),
        inputs=check_inputs(inputs),
        history=turns(history),
        prompts=prompts,
    )


def no_task(rejected: Sequence[Rejected]) -> str:
    """The sentence for a plan without any task."""
    why = rejected[0].reason if rejected else "it wrote nothing"
    return f"the planner's model wrote no usable task ({why}); try another model or goal"


def _usage(reply: ChatReply) -> Usage:
    used = ModelUsage(1, reply.usage.prompt_tokens, reply.usage.completion_tokens)
    return Usage({reply.model: used})
