"""Contexts over real HTTP: a server that is strict about its own, and one that cuts in silence."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from aiohttp import web

from galerne.agent import TaskContext
from galerne.core.fold import fold
from galerne.core.state import JobState
from galerne.core.view import TaskView, view
from galerne.errors import ModelError
from galerne.messages.chat import ChatMessage, ChatRequest, ToolCall, ToolSchema
from galerne.messages.facts import ModelStep
from galerne.messages.ids import DEFAULT_TENANT
from galerne.models import ModelClient
from galerne.models.standin import Fault, StandIn, StandInSettings
from galerne.models.tokens import ExactCounter, exact
from galerne.settings import RoleSettings, Settings
from galerne.tools import tool
from galerne_agents.executor import ExecutorAgent
from galerne_agents.synthesizer import SynthesizerAgent
from integration.fleet import Fleet, fleet_on, planning, ready, task

pytestmark = pytest.mark.anyio

CONTEXT = 8192
REPORT = "The harpooner went aft and said nothing of it to the mate. " * 1700
"""100 kB, as a tool may well return; what is much longer becomes a blob with a short preview."""


def counter() -> ExactCounter:
    found = exact("v3")
    assert found is not None
    return found


class Strict:
    """A server with 8,192 tokens that counts as vLLM does, and refuses one token more."""

    def __init__(self) -> None:
        self.url = ""
        self.prompts: list[int] = []
        self.bodies: list[dict[str, Any]] = []

    async def chat(self, request: web.Request) -> web.Response:
        body = await request.json()
        messages = [_turn(turn) for turn in body["messages"]]
        tools = [msgspec.convert(one["function"], ToolSchema) for one in body.get("tools", ())]
        size = counter().prompt(messages, tools)
        self.prompts.append(size)
        self.bodies.append(body)
        if size + body["max_tokens"] > CONTEXT:
            what = f"This model's maximum context length is {CONTEXT} tokens, not {size}"
            return web.json_response({"object": "error", "message": what}, status=400)
        message = self._answer(body)
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": size, "completion_tokens": 5}
        return web.json_response({"id": "c", "model": "m", "choices": [choice], "usage": usage})

    def _answer(self, body: dict[str, Any]) -> dict[str, Any]:
        if body.get("tools") and body["messages"][-1]["role"] == "user":
            function = {"name": "report", "arguments": "{}"}
            call = {"id": "abcdefgh1", "type": "function", "function": function}
            return {"role": "assistant", "content": "", "tool_calls": [call]}
        return {"role": "assistant", "content": "It is about whales."}


def _turn(sent: dict[str, Any]) -> ChatMessage:
    calls = tuple(ToolCall(call["id"], **call["function"]) for call in sent.get("tool_calls", ()))
    return ChatMessage(sent["role"], sent["content"], calls, sent.get("tool_call_id"))


@asynccontextmanager
async def strict_server() -> AsyncGenerator[Strict]:
    strict = Strict()
    app = web.Application(client_max_size=8 * 1024 * 1024)
    app.router.add_post("/v1/chat/completions", strict.chat)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        strict.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield strict
    finally:
        await runner.cleanup()


def small_model(url: str, **settings: Any) -> ModelClient:
    """One whose context nobody knows but the settings, so that it is estimated."""
    known: dict[str, Any] = {"model": "small", "context": CONTEXT, "max_tokens": 512}
    known["backend"] = "vllm"
    return ModelClient(RoleSettings(endpoint=url, **{**known, **settings}))


@tool(effect="pure")
async def report() -> str:
    """The whole report, as it stands."""
    return REPORT


async def shown(fleet: Fleet, job: str, name: str) -> TaskView:
    """The task as `galerne show` has it."""
    state = JobState()
    for record in await fleet.facts_of(job):
        if record.fact is not None:
            fold(state, record.fact, 0.0)
    tasks = view(state, job, DEFAULT_TENANT, 0.0).tasks
    return next(one for one in tasks if one.id == name)


@pytest.mark.parametrize("model", ["small", "mistral-7b"])
async def test_results_of_100_kb_pass_through_a_context_of_8k(
    settings: Settings, model: str
) -> None:
    """Through the executor that called for one, and the answer that is made of another."""
    direct = task("2", kind="tool", tool="report", args={})
    async with (
        strict_server() as server,
        small_model(server.url, model=model) as client,
        fleet_on(settings) as fleet,
    ):
        await fleet.coordinator()
        await fleet.tools(report)
        plan = planning(task("1"), direct)
        await fleet.worker({"plan": plan, "answer": SynthesizerAgent()}, client, lane="planner")
        executor = ExecutorAgent()
        await fleet.worker({"agent": executor, "tool": executor}, client)
        await fleet.submit("j")
        ended = await fleet.end("j")
        assert (ended.status, ended.result) == ("succeeded", "It is about whales.")
        one = await shown(fleet, "j", "1")
        answer = await shown(fleet, "j", "answer")
    assert one.notices == answer.notices
    assert one.notices == ("to fit the context of 8,192 tokens, results were shortened",)
    assert max(server.prompts) <= CONTEXT - 512
    assert max(server.prompts) > 2000  # and no more was cut than had to be
    assert any("characters are left out here" in str(body) for body in server.bodies)


async def test_what_cannot_fit_fails_by_itself_and_not_at_the_server() -> None:
    async with strict_server() as server, small_model(server.url) as client:
        with pytest.raises(ModelError, match="over the 7,680 that the model's context"):
            await client.ask(ChatRequest((ChatMessage("user", REPORT),)))
    assert server.prompts == []


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_prompt_cut_in_silence_is_told_and_the_next_one_fits(streamed: bool) -> None:
    request = ChatRequest(
        (
            ChatMessage("system", "You read."),
            ChatMessage("user", "Begin."),
            ChatMessage("assistant", REPORT[:20_000]),
            ChatMessage("user", "And?"),
            ChatMessage("assistant", "That was all."),
            ChatMessage("user", f"Now this.\n{REPORT[:9_000]}"),
        )
    )
    pieces: list[str] = []
    on_text = pieces.append if streamed else None
    async with (
        StandIn(StandInSettings(faults=(Fault("truncate"),))) as standin,
        small_model(standin.url, context=32_768, backend="ollama") as client,
    ):
        reply = await client.ask(request, on_text=on_text)
        again = await client.ask(request, on_text=on_text)
    (notice,) = reply.notices
    assert f"read only {reply.usage.prompt_tokens:,} of at least" in notice
    assert "OLLAMA_CONTEXT_LENGTH" in notice
    assert again.notices == ("to fit the context of 4,096 tokens, earlier turns were left out",)


async def test_the_notice_is_journaled_and_comes_back_with_the_answer(settings: Settings) -> None:
    """So whoever looks at the job, and whoever runs the task again, has it too."""
    heard: list[tuple[str, ...]] = []

    async def doing(context: TaskContext) -> str:
        text = ChatMessage("user", REPORT[:60_000])
        reply = await context.ask(ChatRequest((text,)))
        heard.append(reply.notices)
        return "read"

    async with (
        StandIn(StandInSettings(faults=(Fault("truncate"),))) as standin,
        small_model(standin.url, context=32_768) as client,
        fleet_on(settings) as fleet,
    ):
        await fleet.worker(doing, client)
        await fleet.put("j", ready("1"))
        await fleet.done("j", "1")
        (step,) = [r.fact for r in await fleet.facts_of("j") if isinstance(r.fact, ModelStep)]
        task_view = await shown(fleet, "j", "1")
    (notice,) = step.notices
    assert heard == [step.notices]
    assert "left out the rest without saying so" in notice
    assert task_view.notices == (notice,)
