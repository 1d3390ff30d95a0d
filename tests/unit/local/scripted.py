"""Runs with scripted models: what the planner writes is given, what executors say is a function.

Nothing is replaced inside: the installed agents speak to these clients through `galerne.run`.
"""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import anyio.lowlevel
import msgspec

from galerne import RunResult, run
from galerne.messages.chat import ChatMessage, ChatReply, ChatRequest, TokenUsage, ToolCall
from galerne.messages.facts import AnyFact
from galerne.messages.subjects import fact_name
from galerne.settings import CoordinatorSettings, Settings, ToolSettings, WorkerSettings

Answer = Callable[[str, ChatRequest], Awaitable[ChatReply]]
"""The task's id and the request → the reply."""

PATIENCE = 30.0
"""Seconds until a run that never ends fails its test."""
SETTINGS = Settings(
    worker=WorkerSettings(
        concurrency=4,
        max_attempts=3,
        retry_away="0.01..0.05",
        retry_deadline="0.01..0.05",
        retry_bad_answer="0.01..0.05",
        retry_other="0.01..0.05",
    ),
    tools=ToolSettings(concurrency=4),
    coordinator=CoordinatorSettings(revisions=0),
)
"""Fast, and without revisions: whoever tests those says how many there may be."""


def says(text: str) -> ChatReply:
    return ChatReply(ChatMessage("assistant", text), "scripted", usage=TokenUsage(20, 10))


def calls(tool: str, **arguments: Any) -> ChatReply:
    call = ToolCall("abcdefgh1", tool, json.dumps(arguments))
    message = ChatMessage("assistant", tool_calls=(call,))
    return ChatReply(message, "scripted", "tool_calls", TokenUsage(20, 10))


def last(request: ChatRequest) -> str:
    return request.messages[-1].content


def agent_task(task: str, instruction: str, *needs: str, **more: Any) -> dict[str, Any]:
    return {"id": task, "kind": "agent", "instruction": instruction, "needs": list(needs), **more}


def tool_task(task: str, tool: str, args: dict[str, Any], *needs: str) -> dict[str, Any]:
    return {"id": task, "kind": "tool", "tool": tool, "args": args, "needs": list(needs)}


class Scripted:
    """A model. It speaks in small pieces, and counts what it was asked and how much at once."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.requests: list[ChatRequest] = []
        self.tasks: list[str] = []
        self.now = 0
        self.most = 0

    async def ask(
        self,
        request: ChatRequest,
        *,
        on_text: Callable[[str], None] | None = None,
        key: str | None = None,
    ) -> ChatReply:
        task = (key or "..").split(".")[1]
        self.requests.append(request)
        self.tasks.append(task)
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await anyio.lowlevel.checkpoint()
            reply = await self._answer(task, request)
            text = reply.message.content if on_text is not None else ""
            for at in range(0, len(text), 23):
                assert on_text is not None
                on_text(text[at : at + 23])
                await anyio.lowlevel.checkpoint()
            return reply
        finally:
            self.now -= 1


def planning(*tasks: dict[str, Any], answer: str = "the answer") -> Scripted:
    """A planner that writes these tasks, and answers with the words given."""
    plan = "\n".join(map(json.dumps, tasks))

    async def reply(task: str, _: ChatRequest) -> ChatReply:
        return says(plan if task.startswith("plan-") else answer)

    return Scripted(reply)


def executing(answer: Answer | None = None) -> Scripted:
    """An executor; without a script it says `done: ` and the task's id."""

    async def reply(task: str, _: ChatRequest) -> ChatReply:
        return says(f"done: {task}")

    return Scripted(answer or reply)


class Facts:
    """An `on_event` that keeps what it hears."""

    def __init__(self) -> None:
        self.all: list[AnyFact] = []

    def __call__(self, fact: AnyFact) -> None:
        self.all.append(fact)

    @property
    def names(self) -> list[str]:
        return [fact_name(fact) for fact in self.all]

    def of(self, *kinds: type[Any]) -> list[Any]:
        return [fact for fact in self.all if isinstance(fact, kinds)]


def with_worker(**fields: Any) -> Settings:
    worker = msgspec.structs.replace(SETTINGS.worker, **fields)
    return msgspec.structs.replace(SETTINGS, worker=worker)


async def carry_out(**options: Any) -> RunResult:
    """A run of some goal, without tools unless they are given."""
    given: dict[str, Any] = {"settings": SETTINGS, "tools": [], **options}
    with anyio.fail_after(PATIENCE):
        return await run("the goal", **given)
