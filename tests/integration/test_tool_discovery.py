"""Tools that appear, disappear, change and lie: who may call them sees it, and soon."""

# What a directory misses is shown from inside.
# pyright: reportPrivateUsage=false

import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import msgspec
import nats
import pytest
from nats.aio.msg import Msg
from structlog.testing import capture_logs

from galerne.agent import TaskContext
from galerne.bus.server import NatsServer
from galerne.client import Client
from galerne.core.announced import MOST_TOOLS, MOST_WORKERS
from galerne.errors import InvalidSettingsError, UnavailableError
from galerne.messages.codec import decode_tools_heard, encode
from galerne.messages.tools import (
    ToolOutcome,
    ToolRefused,
    ToolResult,
    ToolsAlive,
    ToolSpec,
    ToolsPresent,
)
from galerne.runtime import tool_caller
from galerne.runtime.spool import Spool
from galerne.runtime.tool_caller import ToolCaller
from galerne.runtime.tool_directory import ToolDirectory
from galerne.runtime.tool_host import ToolHost
from galerne.settings import Settings
from galerne.tools import AnyTool, schema_tool, tool
from integration.fleet import (
    Fleet,
    calling,
    eventually,
    fleet_on,
    freeze,
    planning,
    task,
    until,
)
from integration.test_runtime_tools import call

pytestmark = pytest.mark.anyio

SIGHT = 2.0
"""Seconds within which a tool has to be seen to come or go."""
WORDS: dict[str, Any] = {"type": "object", "properties": {"word": {"type": "string"}}}


def look(version: str, schema: dict[str, Any] | None = None) -> AnyTool:
    async def answer(arguments: dict[str, Any], context: Any) -> str:
        return f"version {version} has {sorted(arguments)}"

    return schema_tool(
        "look", "Look a word up.", schema or WORDS, answer, effect="pure", version=version
    )


@tool
async def ping() -> str:
    """Answer."""
    return "pong"


async def watching(fleet: Fleet) -> ToolDirectory:
    directory = ToolDirectory(fleet.bus)
    await directory.start()
    return directory


async def took(holds: Callable[[], bool], what: str) -> float:
    begun = time.monotonic()
    await eventually(holds, what)
    return time.monotonic() - begun


async def micro(server: NatsServer, verb: str) -> list[dict[str, Any]]:
    """What services named galerne-tools say, to a client that knows nothing of Galerne."""
    heard: list[dict[str, Any]] = []

    async def hear(message: Msg) -> None:
        heard.append(json.loads(message.data))

    connection = await nats.connect(server.url)  # pyright: ignore[reportUnknownMemberType] - its options are untyped
    try:
        inbox = connection.new_inbox()
        await connection.subscribe(inbox, cb=hear)  # pyright: ignore[reportUnknownMemberType] - its Future is untyped
        await connection.publish(f"$SRV.{verb}.galerne-tools", b"", reply=inbox)
        await eventually(lambda: bool(heard), f"an answer to {verb}")
    finally:
        await connection.close()
    return heard


# found by NATS tools


async def test_a_worker_is_a_service_with_an_endpoint_for_each_tool(
    server: NatsServer, settings: Settings
) -> None:
    async with fleet_on(settings) as fleet:
        await fleet.tools(look("2"), ping)
        (pinged,) = await micro(server, "PING")
        assert pinged["name"] == "galerne-tools"
        (info,) = await micro(server, "INFO")
        found = {one["name"]: one for one in info["endpoints"]}
        assert sorted(found) == ["look", "ping"]
        assert found["look"]["subject"] == "galerne.tool.look"
        assert found["look"]["queue_group"] == "tools"
        said = found["look"]["metadata"]
        assert (said["effect"], said["version"], said["approve"]) == ("pure", "2", "never")
        assert json.loads(said["schema"]) == WORDS
        caller = ToolCaller(fleet.bus, fleet.settings.tools.heartbeat, time.time)
        assert isinstance(await caller.call(call("look")), ToolResult)
        route = said["route"]
        assert isinstance(await caller.call(call("look", "job.1.2"), route), ToolResult)
        (stats,) = await micro(server, "STATS")
        (looked,) = [one for one in stats["endpoints"] if one["name"] == "look"]
        assert looked["data"] == {"active": 0, "succeeded": 2, "failed": 0}


async def test_a_service_that_leaves_answers_no_more(
    server: NatsServer, settings: Settings
) -> None:
    async with fleet_on(settings) as fleet:
        first = await fleet.tools(ping)
        await fleet.tools(look("1"))
        first.stop.set()
        await first.ended.wait()
        (info,) = await micro(server, "INFO")
        assert [one["name"] for one in info["endpoints"]] == ["look"]


# seen to come and go


async def test_a_tool_is_seen_to_come_and_to_go_within_two_seconds(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        directory = await watching(fleet)
        begun = time.monotonic()
        leaving = await fleet.tools(ping)
        await eventually(lambda: "ping" in directory.specs(), "it has come")
        assert time.monotonic() - begun < SIGHT
        leaving.stop.set()
        assert await took(lambda: not directory.specs(), "it has left") < SIGHT
        dying = await fleet.tools(ping)
        await eventually(lambda: "ping" in directory.specs(), "it has come again")
        freeze(dying.bus)  # as after kill -9: it says no word, not even a farewell
        assert await took(lambda: not directory.specs(), "it is missed") < SIGHT


async def test_heartbeats_are_short_and_a_stranger_is_asked_what_it_serves(
    settings: Settings,
) -> None:
    async with fleet_on(settings) as fleet:
        heard: list[bytes] = []

        async def hear(message: Any) -> None:
            heard.append(message.data)

        await fleet.bus.subscribe(fleet.bus.subjects.presence("tools"), hear)
        await fleet.tools(look("1"), ping)

        def pulses() -> list[bytes]:
            return [one for one in heard if isinstance(decode_tools_heard(one), ToolsAlive)]

        await eventually(lambda: len(pulses()) > 1, "it lives")
        assert max(map(len, pulses())) < 150
        directory = ToolDirectory(fleet.bus)
        asked: list[bytes] = []

        async def hear_question(message: Any) -> None:
            asked.append(message.data)

        await fleet.bus.subscribe(fleet.bus.subjects.presence_query("tools"), hear_question)
        await fleet.bus.subscribe(  # as if its question, and the answers to it, had been lost
            fleet.bus.subjects.presence("tools"), lambda message: directory._hear(message.data)
        )
        await eventually(lambda: "ping" in directory.specs(), "it has answered")
        pulse = decode_tools_heard(pulses()[0])
        assert asked == [pulse.worker.encode()], "by its name, and not left to its next whole word"


async def test_after_the_server_was_away_the_tools_are_there_again(
    server: NatsServer, settings: Settings
) -> None:
    async with fleet_on(settings) as fleet:
        await fleet.tools(ping)
        directory = await watching(fleet)
        await eventually(lambda: "ping" in directory.specs(), "it is there")
        await server.kill()
        await eventually(lambda: not directory.specs(), "nothing is heard")
        await server.start()
        await eventually(lambda: "ping" in directory.specs(), "it is heard again")


# two versions


async def test_of_two_versions_the_newest_is_told_and_each_gets_its_own_calls(
    settings: Settings,
) -> None:
    wider = {"type": "object", "properties": {"word": {"type": "string"}, "n": {"type": "integer"}}}
    async with fleet_on(settings) as fleet:
        await fleet.tools(look("9"))
        directory = await watching(fleet)
        await until(directory.settled, "the old one is there")
        old = directory.specs()["look"]
        await fleet.tools(look("10", wider))
        await eventually(lambda: directory.specs()["look"].version == "10", "the new one is told")
        new = directory.specs()["look"]
        assert [one.spec.version for one in directory.offers()] == ["10", "9"]
        caller = ToolCaller(fleet.bus, fleet.settings.tools.heartbeat, time.time)
        for spec in (old, new) * 10:
            said = await caller.call(call("look"), spec.route)
            assert isinstance(said, ToolResult)
            assert said.value.startswith(f"version {spec.version} ")


@pytest.mark.parametrize("version", ["1", "2"], ids=["the same version", "the next version"])
async def test_a_running_task_goes_on_with_what_it_was_told_and_is_told_when_that_is_gone(
    settings: Settings, version: str
) -> None:
    other = {"type": "object", "properties": {"term": {"type": "string"}}}
    told, go_on = anyio.Event(), [anyio.Event(), anyio.Event()]
    heard: list[ToolOutcome] = []

    async def doing(context: TaskContext) -> Any:
        assert [one.version for one in await context.tools()] == ["1"]
        told.set()
        for gate, arguments in zip(go_on, ({"word": "a"}, {"word": "b"}), strict=True):
            await gate.wait()
            heard.append(await context.call("c", "look", arguments))
        heard.append(await context.call("c", "look", {"term": "b"}))
        return "done"

    async with fleet_on(settings) as fleet:
        await fleet.coordinator()
        await fleet.planner(planning(task("1")))
        worker = await fleet.worker(doing)
        before = await fleet.tools(look("1"))
        await fleet.submit("job")
        await told.wait()
        await fleet.tools(look(version, other))
        directory = await watching(fleet)
        await eventually(lambda: len(directory.offers()) == 2, "both are there")
        go_on[0].set()
        await eventually(lambda: len(heard) == 1, "the first call is made")
        assert heard[0] == ToolResult(
            value="version 1 has ['word']", content="version 1 has ['word']"
        )
        before.stop.set()
        await before.ended.wait()
        go_on[1].set()
        await fleet.end("job")
        assert isinstance(heard[1], ToolRefused)
        assert heard[1].code == "changed"
        assert '"term"' in heard[1].message
        assert isinstance(heard[2], ToolResult)
        assert "['term']" in heard[2].content
        assert worker.alive


# tools that are gone


async def test_a_tool_that_vanished_is_told_before_any_timeout(
    settings: Settings,
) -> None:
    """A task whose tool vanishes waits for a restart a little; then its error names the tool."""
    async with fleet_on(settings) as fleet:
        await fleet.coordinator()
        await fleet.planner(planning(task("1", tools=("ping",))))
        await fleet.worker(calling("ping"))
        await fleet.submit("job")

        async def given_back() -> str | None:
            claims = await fleet.claims("job", "1")
            return next((one.note for one in claims if one.note), None)

        note = await until(given_back, "the task is given back")
        assert note == "no worker serves tool ping: start one with `galerne worker tools`"
        await fleet.tools(ping)
        assert (await fleet.end("job")).result == {"1": "pong"}


async def test_a_task_that_may_use_any_tool_waits_for_the_only_worker_to_restart(
    settings: Settings,
) -> None:
    """A model that is asked without its tools would guess."""
    begin = anyio.Event()

    async def asking(context: TaskContext) -> Any:
        await begin.wait()
        while context.attempt == 1:  # until it is missed
            await context.tools()
            await anyio.sleep(0.05)
        return [one.name for one in await context.tools()]

    async with fleet_on(settings) as fleet:
        await fleet.coordinator()
        await fleet.planner(planning(task("1")))
        await fleet.worker(asking)
        only = await fleet.tools(ping)
        await fleet.submit("job")
        await until(partial(fleet.claims, "job", "1"), "the task is taken")
        await only.kill()
        begin.set()

        async def given_back() -> str | None:
            claims = await fleet.claims("job", "1")
            return next((one.note for one in claims if one.note), None)

        assert "no tool worker is there" in await until(given_back, "the task is given back")
        await fleet.tools(ping)
        assert (await fleet.end("job")).result == {"1": ["ping"]}


async def test_the_loss_of_all_tools_is_known_though_nobody_asked_while_there_were_some(
    settings: Settings,
) -> None:
    """A planner that sat idle must not plan as if there had never been any."""
    present = ToolsPresent(worker="one", tools=(ping.spec,), capacity=1, active=0)
    async with fleet_on(settings) as fleet:
        directory = ToolDirectory(fleet.bus)
        await directory._hear(encode(present))
        await directory._hear(encode(msgspec.structs.replace(present, leaving=True)))
        assert directory.lost_all()
        stranger = ToolDirectory(fleet.bus)
        assert not stranger.lost_all()


async def test_a_client_is_told_of_the_newest_versions_and_of_the_workers(
    server: NatsServer, settings: Settings
) -> None:
    async with fleet_on(settings) as fleet:
        await fleet.tools(look("1"))
        await fleet.tools(look("2"), ping)
        async with Client.connect(settings=settings.bus) as client:
            tools = await client.tools()
            assert {name: one.version for name, one in tools.items()} == {"look": "2", "ping": "1"}
            workers = await client.tool_workers()
            assert [len(one.tools) for one in workers] == [1, 2]
            assert all(one.capacity == settings.tools.concurrency for one in workers)


async def test_a_version_that_nobody_serves_is_no_other_one(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tool_caller, "UNSERVED", 0.2)
    async with fleet_on(settings) as fleet:
        await fleet.tools(look("1"))
        caller = ToolCaller(fleet.bus, fleet.settings.tools.heartbeat, time.time)
        with pytest.raises(UnavailableError):
            await caller.call(call("look"), "no-such-route")


# announcements that lie


LIES: list[tuple[str, dict[str, Any]]] = [
    ("a name that is no token", {"name": "a b"}),
    ("a name with a wildcard", {"name": ">"}),
    ("a route that is no token", {"route": "a.>"}),
    ("parameters of a text", {"parameters": {"type": "string"}}),
    ("properties of a list", {"parameters": {"type": "object", "properties": [1]}}),
    ("a requirement of a text", {"parameters": {"type": "object", "required": "a"}}),
    ("a type of nothing", {"parameters": {"type": "object", "properties": {"a": {"type": 7}}}}),
    ("a timeout of none", {"timeout": -1.0}),
    ("a long story", {"description": "x" * 100_000}),
]


@pytest.mark.parametrize(("what", "lie"), LIES, ids=[what for what, _ in LIES])
async def test_a_tool_that_lies_about_itself_is_left_out_and_the_others_stay(
    settings: Settings, what: str, lie: dict[str, Any]
) -> None:
    async with fleet_on(settings) as fleet:
        await fleet.tools(ping)
        directory = await watching(fleet)
        honest = ToolSpec(name="honest", description="Honest", parameters=WORDS)
        said = ToolsPresent(
            worker="liar",
            tools=(honest, msgspec.structs.replace(honest, **{"name": "liar", **lie})),
            capacity=1,
            active=0,
        )
        for _ in range(2):
            await fleet.bus.send(fleet.bus.subjects.presence("tools"), encode(said))
        await eventually(lambda: "honest" in directory.specs(), "the announcement was heard")
        await eventually(lambda: "ping" in directory.specs(), "the other worker was heard")
        assert sorted(directory.specs()) == ["honest", "ping"], what


async def test_ten_thousand_tools_of_one_worker_hold_nobody_and_are_a_line_or_two_of_the_log(
    settings: Settings,
) -> None:
    bad = tuple(
        ToolSpec(name=f"t{n}", description="", parameters={"type": 7}) for n in range(10_000)
    )
    honest = ToolSpec(name="honest", description="Honest", parameters=WORDS)
    turns: list[int] = []

    async def others_have_their_turn() -> None:
        while True:
            turns.append(len(turns))
            await anyio.lowlevel.checkpoint()

    async with fleet_on(settings) as fleet:
        directory = await watching(fleet)
        said = ToolsPresent(worker="liar", tools=(honest, *bad), capacity=1, active=0)
        between = 0
        with capture_logs() as logged:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(others_have_their_turn)
                await anyio.lowlevel.checkpoint()
                before = len(turns)
                await directory._hear(encode(said))
                between = len(turns) - before
                tasks.cancel_scope.cancel()
        assert list(directory.specs()) == ["honest"]
    assert between > 50
    told = [one["why"] for one in logged if one["log_level"] == "warning"]
    assert len(told) == 2
    assert "announces 10001 tools" in told[0]
    assert "and 996 more" in told[1]
    assert all(len(one) < 2_000 for one in told)


async def test_fake_workers_without_end_keep_nobody_honest_out(settings: Settings) -> None:
    """They are taken in up to a bound, a stranger's line of the log each until that is enough."""
    async with fleet_on(settings) as fleet:
        directory = await watching(fleet)
        await fleet.tools(ping)
        await eventually(lambda: "ping" in directory.specs(), "the honest one is known")
        bad = ToolSpec(name="a b", description="", parameters={})
        with capture_logs() as logged:
            for number in range(2 * MOST_WORKERS):
                said = ToolsPresent(worker=f"w{number}", tools=(bad,), capacity=1, active=0)
                await directory._hear(encode(said))
                await directory._hear(encode(ToolsAlive(worker=f"s{number}", capacity=1, active=0)))
            assert "ping" in directory.specs()
        assert len(directory._sizes) <= MOST_WORKERS
        assert len([one for one in logged if one["log_level"] == "warning"]) < 200


async def test_a_worker_with_too_many_tools_says_so_and_does_not_begin(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        many = {str(n): ping for n in range(MOST_TOOLS + 1)}
        spool = Spool(Path(settings.worker.spool or ""), "many")
        host = ToolHost(fleet.bus, "many", many, spool, settings, time.time)
        with pytest.raises(InvalidSettingsError, match="1001 tools are too many for one worker"):
            await host.run(anyio.Event(), anyio.Event())


async def test_a_worker_that_changes_its_tools_is_believed_at_once(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        directory = await watching(fleet)
        for names in (("a",), ("a", "b"), ("b",), ()):
            specs = tuple(ToolSpec(name=one, description="x", parameters={}) for one in names)
            said = ToolsPresent(worker="mcp", tools=specs, capacity=1, active=0)
            await fleet.bus.send(fleet.bus.subjects.presence("tools"), encode(said))
            await eventually(partial(_serves, directory, names), f"{names}")
            assert [one.spec.name for one in directory.offers()] == list(names)


def _serves(directory: ToolDirectory, names: tuple[str, ...]) -> bool:
    return tuple(directory.specs()) == names


async def test_garbage_on_the_presence_kills_nobody(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        await fleet.tools(ping)
        directory = await watching(fleet)
        await eventually(lambda: "ping" in directory.specs(), "the honest one is heard")
        with capture_logs() as logged:
            for data in (
                b"",
                b"\xff",
                b"[]",
                b'{"type":"tools_alive"}',
                b'{"type":"tools_present"}',
            ):
                await fleet.bus.send(fleet.bus.subjects.presence("tools"), data)
                await fleet.bus.send(fleet.bus.subjects.presence_query("tools"), data)
            stranger = msgspec.json.encode(ToolsAlive(worker="*" * 3_000, capacity=1, active=0))
            for _ in range(100):
                await fleet.bus.send(fleet.bus.subjects.presence("tools"), stranger)
            await fleet.tools(look("1"))
            await eventually(lambda: "look" in directory.specs(), "one that comes is still heard")
            another = await watching(fleet)
            await eventually(lambda: len(another.specs()) == 2, "both still answer who asks")
        assert list(directory.specs()) == list(another.specs()) == ["look", "ping"]
    assert [one["event"] for one in logged if one["log_level"] in {"error", "critical"}] == []
