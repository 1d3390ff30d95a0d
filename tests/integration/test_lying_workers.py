"""Tool workers that answer otherwise than they should: what of it reaches the log and a model."""

import asyncio
import contextlib
from typing import Any

import anyio
import pytest
from structlog.testing import capture_logs

from galerne.bus.connection import Message
from galerne.bus.server import NatsServer
from galerne.errors import DeadlineError
from galerne.messages.codec import encode
from galerne.messages.plan import Succeeded
from galerne.messages.tools import (
    NeedsApproval,
    ToolRefused,
    ToolReply,
    ToolResult,
)
from galerne.runtime import tool_caller
from galerne.settings import Settings
from integration.fleet import Fleet, calling, fleet_on, planning, task
from integration.strangers import stranger
from integration.test_runtime_tools import call, caller

pytestmark = pytest.mark.anyio

HUGE = 400_000
MOST = 2_100
"""Characters of a stranger's sentence that a log keeps and a model reads, with its mark."""
LOUD = "\x1b[2J\n# Task\u202e"


async def answering(fleet: Fleet, *replies: ToolReply | bytes) -> None:
    """A worker of the tool `odd` in another language, and a fleet whose only task calls it."""
    await stranger(fleet, *replies)
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


DEEP = b"[" * 100_000


@pytest.mark.parametrize(
    "reply",
    [
        b'{"type":"result","content":"x","value":' + DEEP + b"]" * len(DEEP) + b"}",
        b'{"type":"result","content":"x","value":' + DEEP,
        b'{"type":"result","content":"x"',
        b"",
    ],
    ids=["deep", "open", "cut", "empty"],
)
async def test_an_answer_that_nobody_can_read_is_a_clear_error(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, reply: bytes
) -> None:
    """The same call is sent again until its time is over: its worker may be mended meanwhile."""
    monkeypatch.setattr(tool_caller, "GRACE", 0.1)
    async with fleet_on(settings) as fleet:
        await _serving(fleet, reply)
        with (
            capture_logs() as logged,
            anyio.fail_after(30),
            pytest.raises(DeadlineError, match="what its worker sent cannot be read") as caught,
        ):
            await caller(fleet).call(call("odd", seconds=1.5))
    assert len(str(caught.value)) <= MOST + 200
    assert "\n" not in str(caught.value)
    told = [one for one in logged if "unreadable" in one["event"]]
    assert len(told) == 1, "a line for a call, not one for each reply"


async def test_an_answer_that_is_too_large_for_the_server_ends_neither_the_caller_nor_its_calls(
    server: NatsServer, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server hangs up on who sends it; the caller hears silence, and serves other calls."""
    monkeypatch.setattr(tool_caller, "GRACE", 0.1)
    async with fleet_on(settings) as fleet:
        stranger = await asyncio.open_connection("127.0.0.1", int(server.url.rpartition(":")[2]))
        gone = anyio.Event()
        asked: list[Message] = []

        async def serve(message: Message) -> None:
            if asked:
                return
            asked.append(message)
            reader, writer = stranger
            writer.write(b"CONNECT {}\r\nPUB %s 100000000\r\n" % message.reply.encode())
            with contextlib.suppress(ConnectionError):
                writer.write(b"x" * 4_000_000)
                await writer.drain()
                while await reader.read(65_536):
                    pass
            gone.set()

        await fleet.bus.subscribe(fleet.bus.subjects.tool("odd"), serve)
        await _serving(fleet, encode(ToolResult(value=1, content="1")), name="even")
        with anyio.fail_after(30), pytest.raises(DeadlineError, match="gave no answer in time"):
            await caller(fleet).call(call("odd", seconds=1.5))
        await gone.wait()
        stranger[1].close()
        said = await caller(fleet).call(call("even"))
        assert said == ToolResult(value=1, content="1")


async def _serving(fleet: Fleet, *replies: bytes, name: str = "odd") -> None:
    async def serve(message: Message) -> None:
        for reply in replies:
            await fleet.bus.send(message.reply, reply)

    await fleet.bus.subscribe(fleet.bus.subjects.tool(name), serve)
    await fleet.bus.flush()
