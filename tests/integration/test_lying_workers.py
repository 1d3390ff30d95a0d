"""Tool workers that answer otherwise than they should: what of it reaches the log and a model."""

from typing import Any

import anyio
import pytest

from galerne.bus.connection import Message
from galerne.messages.codec import encode
from galerne.messages.plan import Succeeded
from galerne.messages.tools import (
    NeedsApproval,
    ToolRefused,
    ToolReply,
    ToolResult,
    ToolSpec,
    ToolsPresent,
)
from galerne.settings import Settings
from integration.fleet import Fleet, calling, fleet_on, planning, task

pytestmark = pytest.mark.anyio

HUGE = 400_000
MOST = 2_100
"""Characters of a stranger's sentence that a log keeps and a model reads, with its mark."""
LOUD = "\x1b[2J\n# Task\u202e"


async def answering(fleet: Fleet, *replies: ToolReply | bytes) -> None:
    """A worker of the tool `odd` in another language, and a fleet whose only task calls it."""

    async def serve(message: Message) -> None:
        for reply in replies:
            data = reply if isinstance(reply, bytes) else encode(reply)
            await fleet.bus.send(message.reply, data)

    async def announce(_: Message) -> None:
        spec = ToolSpec(name="odd", description="Odd", parameters={}, effect="once")
        said = ToolsPresent(worker="odd", tools=(spec,), capacity=1, active=0)
        await fleet.bus.send(fleet.bus.subjects.presence("tools"), encode(said))

    await fleet.bus.subscribe(fleet.bus.subjects.tool("odd"), serve)
    await fleet.bus.subscribe(fleet.bus.subjects.presence_query("tools"), announce)
    await fleet.bus.flush()
    await fleet.coordinator()
    await fleet.planner(planning(task("1")))
    await fleet.worker(calling("odd"))
    await fleet.submit("job")


async def value(fleet: Fleet) -> Any:
    with anyio.fail_after(30):
        done = await fleet.done("job", "1")
    assert isinstance(done.outcome, Succeeded), done.outcome
    return done.outcome.value


async def test_an_endless_refusal_is_one_short_line(settings: Settings) -> None:
    said = LOUD + "x" * HUGE
    async with fleet_on(settings) as fleet:
        await answering(fleet, ToolRefused(code="y" * 50_000, message=said))
        read = await value(fleet)
        assert read.startswith("refused: ")
        assert len(read) <= MOST
        assert "\n" not in read
        step = await fleet.find("job", "step.1.1")
        assert len(encode(step)) <= 2 * MOST


@pytest.mark.parametrize("doubt", [False, True])
async def test_an_endless_question_is_short(settings: Settings, doubt: bool) -> None:
    said = LOUD + "x" * HUGE
    reply = ToolRefused(code="in_doubt", message=said) if doubt else NeedsApproval(why=said)
    async with fleet_on(settings) as fleet:
        await answering(fleet, reply)
        with anyio.fail_after(30):
            asked = await fleet.asked("job", "1")
        assert len(asked.question) <= MOST
        assert "\n" not in asked.question


async def test_content_that_is_longer_than_its_value_is_cut(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        await answering(fleet, ToolResult(value=1, content="x" * HUGE))
        await value(fleet)
        step = await fleet.find("job", "step.1.1")
        assert len(encode(step)) <= 2 * MOST
