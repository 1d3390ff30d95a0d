"""What was paid for reaches the log through the spool, although its process and the bus died."""

# What a crash leaves behind shows only inside.
# pyright: reportPrivateUsage=false

import os
import threading
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
import msgspec
import pytest
from structlog.testing import capture_logs

from galerne.agent import TaskContext
from galerne.bus import store
from galerne.bus.connection import connect
from galerne.bus.server import NatsServer
from galerne.messages.codec import decode_tool_reply, encode
from galerne.messages.plan import Succeeded
from galerne.messages.tools import CallTool, ToolResult
from galerne.runtime import roles, tool_journal
from galerne.runtime.spool import Spool
from galerne.runtime.spools import Spooled, spool_folder
from galerne.runtime.tool_caller import ToolCaller
from galerne.settings import Settings
from galerne.tools import AnyTool, tool
from integration.fleet import (
    Fleet,
    ScriptedModel,
    asking,
    calling,
    echoing,
    eventually,
    fleet_on,
    planning,
    ready,
    task,
)

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def spool_of(fleet: Fleet, me: str) -> AsyncGenerator[Path]:
    """A process's spool, opened as every role opens it: after the replay."""
    async with (
        connect(fleet.settings.bus, me) as bus,
        roles._spool(bus, me, fleet.settings) as spool,
    ):
        yield spool._path.parent


async def test_a_paid_answer_survives_its_process_and_the_bus(
    server: NatsServer, settings: Settings
) -> None:
    """The answer comes while the server is away, then the worker dies; nobody pays again."""
    asked = anyio.Event()
    answered = anyio.Event()

    async def answer(_: Any) -> str:
        asked.set()
        await answered.wait()
        return "dearly paid"

    heir = ScriptedModel()
    async with fleet_on(settings) as fleet:
        async with spool_of(fleet, "probe") as folder:
            pass
        spooling = _with_spool(settings, folder)
        worker = await fleet.worker(echoing, ScriptedModel(answer), settings=spooling)
        await fleet.put("job", ready("1"))
        with anyio.fail_after(20):
            await asked.wait()
        await server.kill()
        answered.set()
        assert worker.spool is not None
        await eventually(lambda: bool(worker.spool and worker.spool._open), "it is in the spool")
        await worker.kill()
        assert len(list(folder.glob("*.spool"))) == 1
        await server.start()
        await eventually(lambda: fleet.bus.connected, "we are connected again")
        with capture_logs() as logs:
            async with spool_of(fleet, "heir"):
                step = await fleet.find("job", "step.1.1")
                assert step is not None
        assert any(line.get("results") == 1 for line in logs)
        assert not list(folder.glob("*.spool"))
        await fleet.worker(echoing, heir)
        assert (await fleet.done("job", "1")).outcome == Succeeded("dearly paid")
        assert heir.keys == []


def _with_spool(settings: Settings, folder: Path) -> Settings:
    worker = msgspec.structs.replace(settings.worker, spool=str(folder))
    return msgspec.structs.replace(settings, worker=worker)


async def test_a_replay_of_what_had_arrived_changes_nothing(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        async with spool_of(fleet, "probe") as folder:
            pass
        worker = await fleet.worker(echoing, settings=_with_spool(settings, folder))
        assert worker.spool is not None
        worker.spool.confirm = _forget  # type: ignore[method-assign, assignment]
        await fleet.put("job", ready("1"))
        await fleet.done("job", "1")
        await worker.kill()
        before = await fleet.facts_of("job")
        async with spool_of(fleet, "next"):
            pass
        assert await fleet.facts_of("job") == before


def _forget(_: str) -> None:
    return


async def test_what_the_log_will_never_take_keeps_nobody_from_starting(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        async with connect(settings.bus, "dead") as bus:
            folder = spool_folder(settings.worker.spool, await roles._cluster(bus))
        spool = Spool(folder, "dead")
        spool.open()
        step = fleet.bus.subjects.job(fleet.address("job"), "step.1.1")
        for one in (
            Spooled("1", step, b"x" * 2_000_000),
            Spooled("2", "a b", b"{}"),
            Spooled("3", step, b"{}"),
        ):
            await spool.put(one)
        spool.close()
        with capture_logs() as logs:
            async with spool_of(fleet, "next"):
                assert await fleet.facts.last(fleet.address("job"), "step.1.1") is not None
        errors = [line["subject"] for line in logs if line["log_level"] == "error"]
        assert errors == [step, "a b"]
        assert not list(folder.glob("*.spool"))


async def test_a_full_disk_stops_no_work(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with fleet_on(settings) as fleet:
        with capture_logs() as logs, monkeypatch.context() as patch:
            worker = await fleet.worker(echoing)
            assert worker.spool is not None
            spool_file = worker.spool._file
            real = os.write

            def full(file: int, data: bytes) -> int:
                if file == spool_file:
                    raise OSError(28, "No space left on device")
                return real(file, data)

            patch.setattr("os.write", full)
            for n in range(5):
                await fleet.put("job", ready(f"t{n}"))
            for n in range(5):
                assert isinstance((await fleet.done("job", f"t{n}")).outcome, Succeeded)
        assert sum(line["log_level"] == "error" for line in logs) == 1


async def test_results_of_tools_go_to_their_own_stream(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        async with connect(settings.bus, "dead") as bus:
            folder = spool_folder(settings.worker.spool, await roles._cluster(bus))
        spool = Spool(folder, "dead")
        spool.open()
        key = CallTool(tool="t", key="j.1.1", tenant="default", arguments={}, deadline=time.time())
        subject = fleet.bus.subjects.tool_journal("default", key.key, "result")
        await spool.put(Spooled("1", subject, b'{"type":"result","value":1,"content":"1"}'))
        spool.close()
        async with spool_of(fleet, "next"):
            info = await fleet.bus.api(f"STREAM.INFO.{fleet.bus.subjects.stream('TOOLJ')}")
            assert info["state"]["messages"] == 1


def paying(done: anyio.Event) -> AnyTool:
    @tool(effect="once", timeout=60.0)
    async def pay() -> str:
        """Pay."""
        done.set()
        return "paid"

    return pay


@asynccontextmanager
async def held_back(
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncGenerator[tuple[anyio.Event, anyio.Event]]:
    """Nothing is written into the tool journal: whether something waits, and what lets it go."""
    write = store.write_once
    waiting, go_on = anyio.Event(), anyio.Event()

    async def hold(bus: Any, stream: str, *arguments: Any) -> Any:
        if stream.endswith("TOOLJ"):
            waiting.set()
            await go_on.wait()
        return await write(bus, stream, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(store, "write_once", hold)
        yield waiting, go_on


async def test_an_effect_that_never_reached_the_journal_is_in_the_spool(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bus takes nothing and the worker dies: the next one on its host replays the folder."""
    monkeypatch.setattr(tool_journal, "LAST_WRITE", 0.05)
    done = anyio.Event()
    async with fleet_on(settings) as fleet:
        async with spool_of(fleet, "probe") as folder:
            pass
        call = CallTool(
            tool="pay", key="job.1.1", tenant="default", arguments={}, deadline=time.time() + 60
        )
        subject = fleet.bus.subjects.tool_journal("default", call.key, "result")
        stream = fleet.bus.subjects.stream("TOOLJ")
        async with held_back(monkeypatch) as (waiting, _):
            host = await fleet.tools(paying(done), settings=_with_spool(settings, folder))
            await fleet.bus.send(fleet.bus.subjects.tool("pay"), encode(call))
            with anyio.fail_after(20):
                await waiting.wait()
            await host.kill()
        assert done.is_set()
        assert await store.last(fleet.bus, stream, subject) is None
        async with spool_of(fleet, "next"):
            stored = await store.last(fleet.bus, stream, subject)
        assert stored is not None
        assert decode_tool_reply(stored.data) == ToolResult(value="paid", content="paid")
        done = anyio.Event()
        await fleet.tools(paying(done))
        caller = ToolCaller(fleet.bus, settings.tools.heartbeat, time.time)
        assert await caller.call(call) == ToolResult(value="paid", content="paid")
        assert not done.is_set()


async def test_a_cancelled_call_journals_what_it_has_done(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with fleet_on(settings) as fleet, held_back(monkeypatch) as (waiting, go_on):
        await fleet.coordinator()
        await fleet.planner(planning(task("1")))
        await fleet.worker(calling("pay"))
        host = await fleet.tools(paying(anyio.Event()))
        await fleet.submit("job")
        with anyio.fail_after(20):
            await waiting.wait()
        await fleet.cancel("job")
        assert (await fleet.end("job")).status == "cancelled"
        assert host.spool is not None
        go_on.set()
        await eventually(lambda: bool(host.spool and not host.spool._open), "it is confirmed")
        subject = fleet.bus.subjects.tool_journal("default", "job.1.1", "result")
        assert await store.last(fleet.bus, fleet.bus.subjects.stream("TOOLJ"), subject) is not None


async def test_a_takeover_goes_on_after_the_replayed_step(
    server: NatsServer, settings: Settings
) -> None:
    async def two(context: TaskContext) -> Any:
        first = await context.ask(asking("first"))
        return (await context.ask(asking(first.message.content))).message.content

    asked: list[str] = []

    async def answer(request: Any) -> str:
        asked.append(request.messages[-1].content)
        if len(asked) == 1:
            await server.kill()
        return "one"

    heir = ScriptedModel()
    async with fleet_on(settings) as fleet:
        async with spool_of(fleet, "probe") as folder:
            pass
        spooling = _with_spool(settings, folder)
        worker = await fleet.worker(two, ScriptedModel(answer), settings=spooling)
        await fleet.put("job", ready("1"))
        await eventually(lambda: bool(worker.spool and worker.spool._open), "it is in the spool")
        await worker.kill()
        await server.start()
        await eventually(lambda: fleet.bus.connected, "we are connected again")
        async with spool_of(fleet, "next"):
            pass
        await fleet.worker(two, heir)
        assert (await fleet.done("job", "1")).outcome == Succeeded("reply to one")
        assert asked == ["first"]
        assert heir.keys == ["job.1.2"]


async def test_whoever_takes_over_looks_into_the_spools_of_its_host(
    server: NatsServer, settings: Settings, tmp_path: Path
) -> None:
    """No process has started since that replays the folder: its peers were alive already."""

    async def answer(_: Any) -> str:
        await server.kill()
        return "dearly paid"

    heir = ScriptedModel()
    spooling = _with_spool(settings, tmp_path / "one host")
    async with fleet_on(settings) as fleet:
        worker = await fleet.worker(echoing, ScriptedModel(answer), settings=spooling)
        await fleet.put("job", ready("1"))
        await eventually(lambda: bool(worker.spool and worker.spool._open), "it is in the spool")
        await worker.kill()
        await server.start()
        await eventually(lambda: fleet.bus.connected, "we are connected again")
        await fleet.worker(echoing, heir, settings=spooling)
        assert (await fleet.done("job", "1")).outcome == Succeeded("dearly paid")
        assert heir.keys == []


async def test_an_effect_whose_worker_died_is_looked_for_in_the_spools_of_its_host(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nobody is asked whether it happened, and an idempotent one is not repeated."""
    monkeypatch.setattr(tool_journal, "LAST_WRITE", 0.05)
    done = anyio.Event()
    spooling = _with_spool(settings, tmp_path / "one host")
    async with fleet_on(settings) as fleet:
        call = CallTool(
            tool="pay", key="job.1.1", tenant="default", arguments={}, deadline=time.time() + 60
        )
        async with held_back(monkeypatch) as (waiting, _):
            host = await fleet.tools(paying(done), settings=spooling)
            await fleet.bus.send(fleet.bus.subjects.tool("pay"), encode(call))
            with anyio.fail_after(20):
                await waiting.wait()
            await host.kill()
        assert done.is_set()
        again = anyio.Event()
        await fleet.tools(paying(again), settings=spooling)
        caller = ToolCaller(fleet.bus, settings.tools.heartbeat, time.time)
        assert await caller.call(call) == ToolResult(value="paid", content="paid")
        assert not again.is_set()


async def test_whoever_leads_a_sync_and_is_cancelled_still_does_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path, "me")
    spool.open()
    begun, go_on = anyio.Event(), threading.Event()
    sync = os.fdatasync

    def slowly(file: int) -> None:
        anyio.from_thread.run_sync(begun.set)
        go_on.wait(20)
        sync(file)

    monkeypatch.setattr("os.fdatasync", slowly)
    synced: list[str] = []

    async def put(name: str, scope: anyio.CancelScope) -> None:
        with scope:
            await spool.put(Spooled(name, "subject", b"data"))
            synced.append(name)

    leader, follower = anyio.CancelScope(), anyio.CancelScope()
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(put, "first", leader)
            await begun.wait()
            second = anyio.CancelScope()
            tasks.start_soon(put, "second", second)  # leads the next sync
            tasks.start_soon(put, "third", follower)
            await anyio.wait_all_tasks_blocked()
            second.cancel()
            go_on.set()
    assert synced[:1] == ["first"]
    assert "third" in synced
    spool.confirm("first")
    spool.confirm("second")
    spool.confirm("third")
    spool.close()
