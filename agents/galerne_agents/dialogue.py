"""An agent task's conversation with one model, from its opening to an answer or a fault.

    ask ──text──▶ judged ──▶ accepted
     ▲              └─ fault: told to the model, once; the next one is the end here
     └──tool calls, each made in order

Between steps everything follows from the task and from what the journal gives back. Whether a
call becomes a step is therefore decided by the names that the task or the job lists, where it
lists any, and not by which tools happen to be served at this moment: where none are listed every
call becomes one, and the runtime answers for a tool that does not exist.

A model that gives up before it has looked at anything is asked anew, and then has to call one of
the tools that only look: small models give up at a word. What it said does not stay in the
conversation, or it would say that again whatever the tool has shown.

A model is asked again once for each fault. A call that succeeds after that shows that it went on,
so a fault of another kind is told to it, too; the same words are never said twice. A usable answer,
also one that follows a fault, is asked back once for what makes it doubtful; it stands where
nothing better comes, and where the budget or the model's context has no room to ask.

What an earlier model of the task has called stands in the conversation of the next one, which so
knows what is done. A call that succeeded there and comes again word for word gets that result: no
effect is made anew because of a move.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Final

import msgspec

from galerne.agent import TaskContext
from galerne.core.groups import ITEM
from galerne.core.refs import filled
from galerne.core.validators import wanted
from galerne.errors import BudgetExhaustedError, InDoubtError, ModelError
from galerne.messages.chat import ChatMessage, ChatReply, ChatRequest, ToolCall
from galerne.messages.facts import Ready
from galerne.messages.plan import Effort
from galerne.messages.tools import ToolOutcome, ToolRefused, ToolResult, ToolSpec
from galerne.planner import (
    Prompts,
    as_text,
    escaped,
    figures_section,
    messages,
    one_line,
    section,
    size_text,
)
from galerne_agents.checks import LOOK_AGAIN, NOT_USED, Accepted, Evidence, Fault, judged
from galerne_agents.doubts import ECHO, better, echoes, not_repeated, weighed

MAX_TURNS: Final[Mapping[Effort, int]] = {"low": 4, "medium": 12, "high": 24}
"""Model turns of one conversation: the longest useful ones took seven, a loop never ends."""
SHORT: Final = 200
"""Characters of a result that is put into an instruction: longer ones stand under it."""
GOAL: Final = 400
"""Characters of the job's goal that an executor is told."""
PROMPT: Final = "executor.v3.md"

_decode_arguments = msgspec.json.Decoder(dict[str, Any]).decode
_encode_sorted = msgspec.json.Encoder(order="deterministic").encode


class Called(msgspec.Struct, frozen=True):
    """A call that was really made, and what the model reads of it."""

    call: ToolCall
    arguments: dict[str, Any]
    content: str
    succeeded: bool

    @property
    def key(self) -> tuple[str, bytes]:
        return self.call.name, _encode_sorted(self.arguments)

    def turns(self) -> tuple[ChatMessage, ChatMessage]:
        return ChatMessage("assistant", tool_calls=(self.call,)), _tool_turn(
            self.call, self.content
        )


class Dialogue:
    """The conversation so far, and the rules by which it goes on."""

    def __init__(
        self, context: TaskContext, served: Sequence[ToolSpec], earlier: Sequence[Called] = ()
    ) -> None:
        """`earlier` is what other models of the task have called."""
        ready = context.ready
        wanted_tools = ready.task.tools
        offered = [tool for tool in served if wanted_tools is None or tool.name in wanted_tools]
        known = {tool.name for tool in offered}
        absent = [name for name in wanted_tools or () if name not in known]
        self._context = context
        self._schemas = tuple(tool.schema() for tool in offered)
        self._looking = tuple(tool.schema() for tool in offered if tool.effect == "pure")
        self._callable = ready.job_tools if wanted_tools is None else wanted_tools
        self._turns = list(_opening(ready, absent, context.prompts))
        self._excerpts = tuple(escaped(as_text(value)) for value in ready.inputs.values())
        self._turns += [turn for one in earlier for turn in one.turns()]
        self._earlier = {one.key: one for one in earlier if one.succeeded}
        self.called = list(earlier)
        """Every call of the task that was made, by whichever model."""
        self._failed = 0
        self._told: set[str] = set()
        """What was said about faults so far."""
        self._stuck = False
        """Whether no call has succeeded since a fault was told."""
        self._must_look = False
        """Whether the next answer has to call a tool that only looks."""
        self._usable: Accepted | None = None
        """The last answer that would have done, and was asked back."""

    async def run(self) -> Accepted | Fault:
        turns = MAX_TURNS[self._context.ready.task.effort or "medium"]
        for _ in range(turns):
            reply = await self._asked()
            if reply is None:
                break
            self._must_look = False
            self._turns.append(reply.message)
            if reply.message.tool_calls:
                for call in reply.message.tool_calls:
                    self._turns.append(await self._answered(call))
                if reply.complaint:  # of other calls, beside those that were made
                    self._turns.append(ChatMessage("user", NOT_USED.format(reply.complaint)))
                continue
            verdict = self._judged(reply)
            if self._usable is not None:
                return better(self._usable, verdict)
            again = self._stuck and isinstance(verdict, Fault)
            if again or not verdict.say or verdict.say in self._told:
                return verdict
            if isinstance(verdict, Accepted):
                self._usable = verdict
            self._told.add(verdict.say)
            self._stuck = True
            if verdict.say == LOOK_AGAIN and self._may_look():
                self._must_look = True
                self._turns.pop()
            else:
                self._turns.append(ChatMessage("user", verdict.say))
        return self._usable or Fault(f"no answer after {turns} turns", "")

    async def _asked(self) -> ChatReply | None:
        """None where there is a usable answer, and no room to ask for a better one."""
        try:
            return await self._context.ask(self._request())
        except (BudgetExhaustedError, ModelError):
            if self._usable is None:
                raise
            return None

    def _may_look(self) -> bool:
        """Whether there is something to look with, and nothing was tried yet."""
        return bool(self._looking) and not self.called and not self._failed

    def _request(self) -> ChatRequest:
        must_look = self._must_look
        return ChatRequest(
            tuple(self._turns),
            self._looking if must_look else self._schemas,
            "any" if must_look else "auto",
            excerpts=self._excerpts,
            output=self._context.ready.task.output,
        )

    def _judged(self, reply: ChatReply) -> Accepted | Fault:
        ready = self._context.ready
        found = any(one.succeeded for one in self.called)
        calls = tuple(one.content for one in self.called) if found else ()
        words = (ready.goal, ready.task.instruction)
        evidence = Evidence(self._failed, ready.inputs, calls, words)
        verdict = judged(ready.task, reply, evidence)
        if echoes(reply.message.content, self._told):
            verdict = Fault(ECHO, "")
        if isinstance(verdict, Fault):
            return verdict
        answer = weighed(verdict.value, evidence)
        return not_repeated(answer, evidence) if ready.task.output is None else answer

    async def _answered(self, call: ToolCall) -> ChatMessage:
        """The tool turn for one call. A call that cannot be made is explained to the model."""
        arguments, fault = _arguments(call, self._callable)
        if fault is not None:
            self._failed += 1
            return _tool_turn(call, f"Error: {fault}")
        known = self._earlier.get((call.name, _encode_sorted(arguments)))
        if known is not None:
            self._stuck = False
            return _tool_turn(call, known.content)
        outcome = settled(await self._context.call(call.id, call.name, arguments))
        made = Called(call, arguments, _as_content(outcome), isinstance(outcome, ToolResult))
        if made.succeeded:
            self._stuck = False
        else:
            self._failed += 1
        self.called.append(made)
        return _tool_turn(call, made.content)


def settled(outcome: ToolOutcome) -> ToolOutcome:
    """The outcome, unless nobody knows it: then a person decides. Raises InDoubtError."""
    if isinstance(outcome, ToolRefused) and outcome.code == InDoubtError.code:
        raise InDoubtError(outcome.message)
    return outcome


def _opening(ready: Ready, absent: Sequence[str], prompts: Prompts) -> tuple[ChatMessage, ...]:
    system = prompts.text("executor", _prompt(PROMPT))
    if absent:
        system += f"\nNot available now: {', '.join(absent)}. Do without, or say that you cannot."
    goal = one_line(ready.goal, GOAL)  # what of it this task is for stands in its instruction
    instruction = filled(ready.task.instruction, ready.inputs, SHORT)
    sections = [section("# Goal of the job", goal), section("# Task", instruction)]
    if ready.inputs:
        sections.append("# Results")
        sections += [
            section(f"## {task}{size_text(value)}", as_text(value))
            for task, value in ready.inputs.items()
        ]
        if ITEM not in ready.inputs:  # who does it for one element compares nothing
            sections += figures_section(ready.inputs)
    if ready.task.check is not None:
        sections.append(section("# Form of the answer", f"It has to {wanted(ready.task.check)}."))
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


def _tool_turn(call: ToolCall, content: str) -> ChatMessage:
    return ChatMessage("tool", content, tool_call_id=call.id, name=call.name)


def _as_content(outcome: ToolOutcome) -> str:
    match outcome:
        case ToolResult(content=content):
            return content
        case ToolRefused(message=message):
            return f"Error: {message}"


@cache
def _prompt(name: str) -> str:
    return files("galerne_agents").joinpath("prompts", name).read_text("utf-8").rstrip("\n")
