"""What 8x22B and Nemo really answered, through client and executor: each call as it was meant.

A server gives the recorded answers three times: with native calls, with the calls as text behind
Mistral's marker (a vLLM with the wrong flags), and as a model that is asked in words writes them.
`-s` shows the outcomes.
"""

from collections import Counter
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest

from galerne.core.answers import first_fault
from galerne.messages.chat import ChatMessage, ChatReply, ChatRequest, ToolCall, ToolSchema
from galerne.messages.tools import ToolResult, ToolSpec
from galerne.models import ModelClient
from galerne.settings import RoleSettings, ToolMode
from galerne_agents.executor import ExecutorAgent
from integration.replaying import Answer, Body, replaying
from unit.agents.scripted import World, ready, says, script
from unit.planner.examples import agent_task

DATA = Path(__file__).parents[3] / "shared" / "data" / "bfcl"
Serving = Literal["native", "leaked", "words"]
Call = tuple[str, Any]

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not DATA.exists(), reason="../shared/data is absent: no recorded answers"),
]


def rows(name: str) -> dict[str, dict[str, Any]]:
    lines = (DATA / name).read_bytes().splitlines()
    return {row["id"]: row for row in map(msgspec.json.decode, lines)}


def recorded_calls(row: dict[str, Any]) -> list[tuple[str, str]]:
    """Name and arguments of each call of a recorded answer; none where it is text."""
    if isinstance(row["result"], str):
        return []
    return [(name, text) for call in row["result"] for name, text in call.items()]


def served(row: dict[str, Any], serving: Serving) -> Answer:
    calls = recorded_calls(row)
    if not calls:
        return Answer(text=row["result"])
    if serving == "native":
        made = tuple(ToolCall(f"call{n:05}", name, text) for n, (name, text) in enumerate(calls))
        return Answer(calls=made, finish="tool_calls")
    listed = msgspec.json.encode(
        [{"name": name, "arguments": msgspec.Raw(text.encode())} for name, text in calls]
    ).decode()
    return Answer(text=f"[TOOL_CALLS] {listed}" if serving == "leaked" else listed)


def request_of(row: dict[str, Any]) -> ChatRequest:
    messages = tuple(ChatMessage(turn["role"], turn["content"]) for turn in row["messages"])
    functions = (tool["function"] for tool in row["tools"])
    return ChatRequest(
        messages, tuple(ToolSchema(f["name"], f["description"], f["parameters"]) for f in functions)
    )


async def carried_out(reply: ChatReply, tools: tuple[ToolSchema, ...]) -> list[Call]:
    """The calls that the executor makes of an answer; it makes none that is not listed."""
    names = tuple(tool.name for tool in tools)
    task = msgspec.structs.replace(agent_task("1"), tools=names)
    specs = [
        ToolSpec(name=tool.name, description=tool.description, parameters=tool.parameters)
        for tool in tools
    ]
    done = ToolResult(value=None, content="done")
    closing = says("It is done.")
    answers = script(reply, closing, closing)
    world = World(ready(task), answers, specs, [done] * len(reply.message.tool_calls))
    assert isinstance(await ExecutorAgent().run(world.attempt()), str)
    return [(name, arguments) for _, name, arguments in world.called]


def outcome(reply: ChatReply, wanted: list[tuple[str, str]], made: list[Call]) -> str:
    if made:
        return "called" if wanted else "called from a fence"
    if reply.complaint or reply.message.tool_calls:
        return "refused, with a reason"
    return "text"


@pytest.mark.parametrize(
    ("serving", "mode"), [("native", "native"), ("leaked", "native"), ("words", "prompt")]
)
@pytest.mark.parametrize(
    ("model", "expected", "calls"),
    [
        (
            "open-mixtral-8x22b",
            {"called": 169, "called from a fence": 4, "refused, with a reason": 1, "text": 56},
            212 - 1 + 4,
        ),
        (
            "open-mistral-nemo-2407",
            {"called": 214, "refused, with a reason": 1, "text": 15},
            349 - 1,
        ),
    ],
)
async def test_every_recorded_answer_becomes_the_call_that_was_meant_or_a_refusal(
    model: str, expected: dict[str, int], calls: int, serving: Serving, mode: ToolMode
) -> None:
    requests, answers = rows("requests.jsonl"), rows(f"{model}-FC-Auto.jsonl")

    def answer(_: Body, key: str) -> Answer:
        return served(answers[key], serving)

    outcomes: Counter[str] = Counter()
    made_in_all = 0
    async with replaying(answer) as server:
        settings = RoleSettings(endpoint=server.url, model=model, backend="vllm", tools=mode)
        async with ModelClient(settings) as client:
            for name, row in answers.items():
                request = request_of(requests[name])
                reply = await client.ask(request, key=name)
                shown: list[str] = []
                assert await client.ask(request, on_text=shown.append, key=name) == reply
                assert "".join(shown) == reply.message.content
                made = await carried_out(reply, request.tools)
                check(reply, request.tools, recorded_calls(row), made)
                outcomes[outcome(reply, recorded_calls(row), made)] += 1
                made_in_all += len(made)
    counts = ", ".join(f"{number} {what}" for what, number in sorted(outcomes.items()))
    print(f"\n{model}, {serving}: {counts}; {made_in_all} calls")  # noqa: T201 - for -s
    assert outcomes == expected
    assert made_in_all == calls


def check(
    reply: ChatReply,
    tools: tuple[ToolSchema, ...],
    wanted: list[tuple[str, str]],
    made: list[Call],
) -> None:
    """No markup shows, no unknown tool is run, and arguments are the model's and valid."""
    assert "[TOOL_CALLS]" not in reply.message.content
    schemas = {tool.name: tool.parameters for tool in tools}
    for name, arguments in made:
        assert first_fault(arguments, schemas[name]) == ""
    meant = [(name, msgspec.json.decode(text)) for name, text in wanted if name in schemas]
    if wanted:
        assert made == meant
        assert reply.message.content == ""
    if unknown := [name for name, _ in wanted if name not in schemas]:
        named = [call.name for call in reply.message.tool_calls]
        assert named == unknown or f"there is no tool {unknown[0]!r}" in reply.complaint
