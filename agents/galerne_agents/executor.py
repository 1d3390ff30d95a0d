"""The agent that executes: a small model with tools, or one direct tool call without any model.

    ask --text--> done           ask --tool calls--> each called in order --> ask again
        --nothing, or a call as text--> asked once more, then failed

Between steps everything follows from the task and from what the journal gives back. Whether a
call becomes a step is therefore decided by the names that the task or the job lists, where it
lists any, and not by which tools happen to be served at this moment: where none are listed every
call becomes one, and the runtime answers for a tool that does not exist.
"""

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any, ClassVar, Final

import msgspec

from galerne.agent import TaskContext
from galerne.core.refs import resolve
from galerne.errors import (
    InDoubtError,
    InvalidInputError,
    PermanentError,
    ToolError,
)
from galerne.messages.chat import ChatMessage, ChatRequest, ToolCall
from galerne.messages.facts import Lane, Ready
from galerne.messages.plan import TaskKind
from galerne.messages.tools import ToolOutcome, ToolRefused, ToolResult, ToolSpec
from galerne.planner import as_text, messages, one_line, section

MAX_TURNS: Final = 12
"""Model turns of one task: the longest useful ones took seven, a loop never ends by itself."""
PROMPT: Final = "executor.v1.md"
DIRECT_CALL: Final = "direct"
"""The call id of a tool task's only call."""
SAY_SOMETHING: Final = "Your answer was empty. Write the result of the task now, as text."
CALL_AGAIN: Final = (
    "Your tool call came as text and was not made. Call the tool again by a proper tool call, or"
    " write the result as plain text."
)
LEAKED_CALL: Final = "[TOOL_CALLS]"
"""Mistral's own marker: a server with the wrong flags, or a model, lets it through as text."""
GIVES_UP: Final = "I cannot"

_decode_arguments = msgspec.json.Decoder(dict[str, Any]).decode


class ExecutorAgent:
    """Does an `agent` task (its value is the model's closing text) or a `tool` task."""

    lane: ClassVar[Lane] = "executor"
    kinds: ClassVar[frozenset[TaskKind]] = frozenset({"agent", "tool"})

    async def run(self, context: TaskContext) -> Any:
        """Raises what the failure is: ToolError, InDoubtError, PermanentError."""
        if context.ready.task.kind == "tool":
            return await _call_directly(context)
        served = await context.tools()
        return await _Dialogue(context, served).run()


async def _call_directly(context: TaskContext) -> Any:
    task = context.ready.task
    if task.tool is None:
        raise InvalidInputError(f"tool task {task.id!r} names no tool")
    arguments = resolve(task.args or {}, context.ready.inputs)
    match _settled(await context.call(DIRECT_CALL, task.tool, arguments)):
        case ToolResult(value=value):
            return value
        case ToolRefused(message=message):
            raise ToolError(message)


class _Dialogue:
    """One agent task: the conversation so far, and the rules by which it goes on."""

    def __init__(self, context: TaskContext, served: Sequence[ToolSpec]) -> None:
        ready = context.ready
        wanted = ready.task.tools
        offered = [tool for tool in served if wanted is None or tool.name in wanted]
        self._context = context
        self._schemas = tuple(tool.schema() for tool in offered)
        self._callable = ready.job_tools if wanted is None else wanted
        absent = [name for name in wanted or () if name not in {tool.name for tool in offered}]
        self._turns = list(_opening(ready, absent))
        self._nudged = False

    async def run(self) -> str:
        for _ in range(MAX_TURNS):
            request = ChatRequest(tuple(self._turns), self._schemas)
            message = (await self._context.ask(request)).message
            self._turns.append(message)
            if message.tool_calls:
                for call in message.tool_calls:
                    self._turns.append(await self._answered(call))
            elif LEAKED_CALL in message.content:
                self._nudge(CALL_AGAIN, "the model writes its tool calls as text")
            elif text := message.content.strip():
                return _accepted(text)
            else:
                self._nudge(SAY_SOMETHING, "the model answered with nothing")
        raise PermanentError(f"no answer after {MAX_TURNS} turns; split the task or give it tools")

    def _nudge(self, request: str, fault: str) -> None:
        """Ask once more; a fault that comes back is the task's failure."""
        if self._nudged:
            raise PermanentError(f"{fault}, twice; try a larger model, or check its server's flags")
        self._nudged = True
        self._turns.append(ChatMessage("user", request))

    async def _answered(self, call: ToolCall) -> ChatMessage:
        """The tool turn for one call. A call that cannot be made is explained to the model."""
        arguments, fault = _arguments(call, self._callable)
        if fault is None:
            outcome = _settled(await self._context.call(call.id, call.name, arguments))
            content = _as_content(outcome)
        else:
            content = f"Error: {fault}"
        return ChatMessage("tool", content, tool_call_id=call.id, name=call.name)


def _opening(ready: Ready, absent: Sequence[str]) -> tuple[ChatMessage, ...]:
    system = _prompt(PROMPT)
    if absent:
        system += f"\nNot available now: {', '.join(absent)}. Do without, or say that you cannot."
    sections = [section("# Goal of the job", ready.goal), section("# Task", ready.task.instruction)]
    if ready.inputs:
        sections.append("# Results")
        sections += [section(f"## {task}", as_text(value)) for task, value in ready.inputs.items()]
    return messages(system, *sections)


def _arguments(call: ToolCall, known: Sequence[str] | None) -> tuple[dict[str, Any], str | None]:
    """The call's arguments, or what is wrong with the call. `known` None: any name may do."""
    if known is not None and call.name not in known:
        there = ", ".join(known) or "none"
        return {}, f"there is no tool {call.name[:64]!r}; there are: {there}"
    try:
        return _decode_arguments(call.arguments.strip() or "{}"), None
    except msgspec.ValidationError:
        return {}, "the arguments must be one JSON object of the tool's parameters; call it again"
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        return {}, f"the arguments are not valid JSON ({error}); call it again"


def _settled(outcome: ToolOutcome) -> ToolOutcome:
    """The outcome, unless nobody knows it: then a person decides."""
    if isinstance(outcome, ToolRefused) and outcome.code == InDoubtError.code:
        raise InDoubtError(outcome.message)
    return outcome


def _as_content(outcome: ToolOutcome) -> str:
    match outcome:
        case ToolResult(content=content):
            return content
        case ToolRefused(message=message):
            return f"Error: {message}"


def _accepted(text: str) -> str:
    if text.startswith(GIVES_UP):
        raise PermanentError(f"the model gave up: {one_line(text, 400)}")
    return text


@cache
def _prompt(name: str) -> str:
    return files("galerne_agents").joinpath("prompts", name).read_text("utf-8").rstrip("\n")
