"""The client against a real server, with a coordinator of a few lines that writes facts by hand."""

import gc
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from galerne.bus.connection import Bus, connect
from galerne.bus.log import FactLog
from galerne.bus.server import NatsServer
from galerne.bus.topology import provision
from galerne.cli.following import follow
from galerne.cli.screen import PlainScreen
from galerne.client import Client, Job, JobEvent, JobEvents
from galerne.core.state import JobState
from galerne.core.view import JobView
from galerne.errors import (
    BusyError,
    InvalidInputError,
    InvalidSettingsError,
    JobFailedError,
    NotFoundError,
    PermanentError,
    TooLargeError,
    UnavailableError,
)
from galerne.messages.codec import decode_command, decode_submit, encode
from galerne.messages.facts import AnyFact, Ended, JobSpec, PlanEnded, Planned, Submitted
from galerne.messages.ids import DEFAULT_TENANT, JobId, TaskId, job_id_of_key
from galerne.messages.live import Delta
from galerne.messages.plan import TaskSpec, Usage
from galerne.messages.requests import Cancel
from galerne.settings import BusSettings, Settings, TenantSettings

pytestmark = pytest.mark.anyio

NOW = 1_700_000_000.0


class Fleet:
    """A server, and what a coordinator would do, when the test says so."""

    def __init__(self, server: NatsServer, bus: Bus, settings: BusSettings) -> None:
        self.server = server
        self.bus = bus
        self.settings = settings
        self.log = FactLog(bus)

    async def write(self, job: str, *facts: AnyFact) -> None:
        address = self.bus.subjects.address(DEFAULT_TENANT, JobId(job))
        for fact in facts:
            assert await self.log.write(address, fact) is None

    async def waiting(self) -> list[bytes]:
        """The messages in the queue of requests, oldest first."""
        stream = self.bus.subjects.stream("SUBMIT")
        state = (await self.bus.api(f"STREAM.INFO.{stream}"))["state"]
        found: list[bytes] = []
        for sequence in range(max(1, state["first_seq"]), state["last_seq"] + 1):
            answer = await self.bus.api(f"STREAM.MSG.GET.{stream}", {"seq": sequence})
            found.append(msgspec.json.decode(f'"{answer["message"]["data"]}"', type=bytes))
        return found

    async def restart(self) -> None:
        await self.server.kill()
        await self.server.start()


@asynccontextmanager
async def running(folder: Path, **settings: object) -> AsyncGenerator[Fleet]:
    server = NatsServer(folder / "nats")
    await server.start()
    try:
        bus_settings = msgspec.structs.replace(BusSettings(server=server.url), **settings)
        async with connect(bus_settings, "test") as bus:
            one_at_a_time = TenantSettings(active=1)
            await provision(bus, Settings(bus=bus_settings, tenants=one_at_a_time))
            yield Fleet(server, bus, bus_settings)
    finally:
        await server.stop()


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncGenerator[Fleet]:
    async with running(tmp_path) as running_fleet:
        yield running_fleet


@pytest.fixture
async def client(fleet: Fleet) -> AsyncGenerator[Client]:
    async with Client.connect(settings=fleet.settings) as connected:
        yield connected


def submitted(job: str, goal: str = "a goal", at: float = NOW) -> Submitted:
    return Submitted(job=JobSpec(id=JobId(job), tenant=DEFAULT_TENANT, goal=goal), at=at)


def planned(n: int) -> Planned:
    return Planned(revision=1, n=n, task=TaskSpec(id=TaskId(str(n)), instruction="do"))


def ended(result: object = "42", at: float = NOW + 2) -> Ended:
    return Ended(status="succeeded", usage=Usage(), at=at, result=result)


async def all_events(job: Job, after: int = 0) -> list[JobEvent]:
    with anyio.fail_after(30):
        return [event async for event in job.events(after)]


async def next_event(events: JobEvents) -> JobEvent:
    with anyio.fail_after(30):
        return await anext(events)


# handing a job over


async def test_a_submitted_job_is_in_the_queue_once(fleet: Fleet, client: Client) -> None:
    job = await client.submit("Count", inputs={"n": 1}, tools=["text_stats"], priority="high")
    again = await client.submit("Count", job=job.id)
    assert again.id == job.id
    [data] = await fleet.waiting()
    request = decode_submit(data)
    assert (request.job, request.goal, request.priority) == (job.id, "Count", "high")
    assert (request.inputs, request.tools) == ({"n": 1}, ("text_stats",))


async def test_the_same_key_is_the_same_job(fleet: Fleet, client: Client) -> None:
    first = await client.submit("Count", key="order 7")
    second = await client.submit("Count", key="order 7")
    assert first.id == second.id == job_id_of_key(DEFAULT_TENANT, "order 7")
    assert len(await fleet.waiting()) == 1


async def test_what_cannot_be_a_job_never_leaves(fleet: Fleet, client: Client) -> None:
    bad: list[dict[str, object]] = [
        {"goal": "  \n"},
        {"goal": "lone \ud800"},
        {"goal": "x", "job": "two words"},
        {"goal": "x", "key": ""},
        {"goal": "x", "key": "\ud800"},
        {"goal": "x", "tools": ["a.b"]},
        {"goal": "x", "tools": "text_stats"},
        {"goal": "x", "priority": "urgent"},
        {"goal": "x", "inputs": {"a": object()}},
    ]
    for arguments in bad:
        with pytest.raises(InvalidInputError) as raised:
            await client.submit(**arguments)  # type: ignore[arg-type]
        assert "\n" not in str(raised.value)
    assert await fleet.waiting() == []


async def test_a_job_over_the_limit_names_its_size_and_the_limit(
    fleet: Fleet, client: Client
) -> None:
    """Inputs go by claim check where they are large; a goal is for a model to read."""
    with pytest.raises(TooLargeError, match=r"the job has 6\d{5} bytes and the limit is 524288"):
        await client.submit("y" * 600_000)
    assert await fleet.waiting() == []
    assert (await client.submit("still connected")).id


async def test_a_full_backlog_says_so(tmp_path: Path) -> None:
    async with running(tmp_path, backlog=2) as fleet:
        async with Client.connect(settings=fleet.settings) as client:
            await client.submit("one")
            await client.submit("two")
            await client.submit("three")  # one more than wait: it could be in progress
            with pytest.raises(BusyError, match="backlog full"):
                await client.submit("four")
        assert len(await fleet.waiting()) == 3


# connecting


async def test_no_server_is_named_in_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GALERNE_SERVER", raising=False)
    with pytest.raises(UnavailableError, match="GALERNE_SERVER"):
        async with Client.connect():
            pass
    with pytest.raises(UnavailableError, match=r"nats://127\.0\.0\.1:1"):
        async with Client.connect("nats://127.0.0.1:1"):
            pass


async def test_the_variable_names_the_server(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GALERNE_SERVER", fleet.server.url)
    async with Client.connect() as client:
        assert await client.jobs() == []


async def test_other_partitions_than_the_fleets_are_refused(fleet: Fleet) -> None:
    other = msgspec.structs.replace(fleet.settings, partitions=16)
    with pytest.raises(InvalidSettingsError, match=r"bus\.partitions = 8"):
        async with Client.connect(settings=other):
            pass


async def test_a_server_without_a_fleet_is_told_from_one_that_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("galerne.client.patience.SETUP_PATIENCE", 0.0)
    server = NatsServer(tmp_path)
    await server.start()
    try:
        async with Client.connect(server.url) as client:
            with pytest.raises(UnavailableError, match="no fleet was ever started"):
                await client.submit("x")
            with pytest.raises(UnavailableError, match="no fleet was ever started"):
                await client.job("x").view()
    finally:
        await server.stop()


# following a job


async def test_events_come_in_log_order_from_the_past_and_live(
    fleet: Fleet, client: Client
) -> None:
    await fleet.write("j", submitted("j"), planned(1))
    events = client.job("j").events()
    names = [(await next_event(events)).name for _ in range(2)]
    await fleet.write("j", planned(2), PlanEnded(revision=1, count=2), ended())
    names += [event.name async for event in events]
    assert names == ["submitted", "plan.1.1", "plan.1.2", "plan.1.end", "end"]


async def test_events_after_a_place_in_the_log(fleet: Fleet, client: Client) -> None:
    await fleet.write("j", submitted("j"), planned(1), ended())
    job = client.job("j")
    every = await all_events(job)
    assert await all_events(job, after=every[0].sequence) == every[1:]
    assert await all_events(job, after=every[-1].sequence) == []


async def test_what_a_model_says_comes_between_the_facts(fleet: Fleet, client: Client) -> None:
    await fleet.write("j", submitted("j"))
    events = client.job("j").events(deltas=True)
    first = await next_event(events)
    piece = Delta(task=TaskId("1"), attempt=1, text="Hel")
    await fleet.bus.send(fleet.bus.subjects.delta("default", "j", "1"), encode(piece))
    await fleet.bus.send(fleet.bus.subjects.delta("default", "j", "1"), b"not a delta")
    said = await next_event(events)
    assert (said.fact, said.sequence, said.name) == (piece, first.sequence, "delta.1")
    await fleet.write("j", ended())
    assert [event.name async for event in events] == ["end"]


async def test_a_wait_that_is_cancelled_loses_nothing(fleet: Fleet, client: Client) -> None:
    await fleet.write("j", submitted("j"))
    events = client.job("j").events()
    names: list[str] = []
    facts: list[AnyFact] = [*(planned(n) for n in range(1, 20)), ended()]
    with anyio.fail_after(60):
        while names[-1:] != ["end"]:
            if facts and len(names) > 20 - len(facts):
                await fleet.write("j", facts.pop(0))
            with anyio.move_on_after(0.02):
                names.append((await anext(events)).name)
    assert names == ["submitted", *[f"plan.1.{n}" for n in range(1, 20)], "end"]


async def test_events_survive_a_killed_server(fleet: Fleet, client: Client) -> None:
    await fleet.write("j", submitted("j"))
    names: list[str] = []

    async def follow() -> None:
        names.extend([event.name async for event in client.job("j").events()])

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(follow)
            await fleet.write("j", planned(1))
            await fleet.restart()
            await fleet.write("j", planned(2))
            await fleet.restart()
            await fleet.write("j", ended())
    assert names == ["submitted", "plan.1.1", "plan.1.2", "end"]


async def test_lost_live_messages_cost_time_and_nothing_else(
    fleet: Fleet, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(*_: object) -> None:
        """Take nothing."""

    monkeypatch.setattr("galerne.client.events._Inbox.take", lose)
    await fleet.write("j", submitted("j"))
    events = client.job("j").events()
    await next_event(events)
    await fleet.write("j", planned(1), ended())
    assert [(await next_event(events)).name for _ in range(2)] == ["plan.1.1", "end"]


async def test_an_abandoned_iteration_stops_listening(fleet: Fleet, client: Client) -> None:
    await fleet.write("j", submitted("j"))
    async for _ in client.job("j").events():
        assert _listens(client)
        break
    gc.collect()
    await fleet.write("j", planned(1))  # the first message after it finds nobody
    with anyio.fail_after(30):
        while _listens(client):
            await anyio.sleep(0.02)


def _listens(client: Any) -> bool:
    """Whether this client has a subscription under `live`."""
    subscriptions = client._bus._client._subs.values()
    return any(sub.subject.startswith("galerne.live.") for sub in subscriptions)


async def test_an_unreadable_end_is_a_failure_and_not_a_wait_for_ever(
    fleet: Fleet, client: Client
) -> None:
    await fleet.write("j", submitted("j"))
    address = fleet.bus.subjects.address(DEFAULT_TENANT, JobId("j"))
    await fleet.bus.publish(fleet.bus.subjects.job(address, "end"), b"\xff\x00")
    with anyio.fail_after(30), pytest.raises(JobFailedError, match="unreadable"):
        await client.job("j").result()


# what came of it


async def test_a_result_is_waited_for(fleet: Fleet, client: Client) -> None:
    job = await client.submit("Count", job="j")
    results: list[object] = []

    async def wait() -> None:
        results.append(await job.result())

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await fleet.write("j", submitted("j"), ended({"words": 3}))
    assert results == [{"words": 3}]
    assert (await job.wait()).result == {"words": 3}


@pytest.mark.parametrize(
    ("status", "sentence"),
    [("failed", "job j failed: no luck"), ("cancelled", "job j was cancelled: no luck")],
)
async def test_a_failed_job_raises_its_error(
    fleet: Fleet, client: Client, status: str, sentence: str
) -> None:
    end = Ended(status=status, usage=Usage(), at=NOW, error="no luck")  # type: ignore[arg-type]
    await fleet.write("j", submitted("j"), end)
    with pytest.raises(JobFailedError, match=sentence):
        await client.job("j").result()


async def test_a_view_tells_queued_running_and_ended(fleet: Fleet, client: Client) -> None:
    await client.submit("Count words", job="j")
    queued = await client.job("j").view()
    assert (queued.status, queued.goal) == ("queued", "Count words")
    await fleet.write("j", submitted("j", at=time.time()), planned(1))
    running_view = await client.job("j").view()
    assert (running_view.status, [task.id for task in running_view.tasks]) == ("running", ["1"])
    await fleet.write("j", ended("done"))
    assert (await client.job("j").view()).result == "done"


async def test_an_unknown_job_is_not_waited_for(fleet: Fleet, client: Client) -> None:
    await client.submit("another", job="other")
    job = client.job("nobody")
    with anyio.fail_after(30):
        for ask in (job.view, job.wait, job.result, job.cancel):
            with pytest.raises(NotFoundError, match="no job nobody"):
                await ask()
        with pytest.raises(NotFoundError, match="no job nobody"):
            await anext(job.events())


async def test_jobs_are_listed_newest_first(fleet: Fleet, client: Client) -> None:
    for n in range(5):
        await fleet.write(f"j{n}", submitted(f"j{n}", f"goal {n}"))
    await fleet.write("j3", ended())
    listed = await client.jobs(limit=3)
    assert [(job.id, job.status, job.goal) for job in listed] == [
        ("j4", "running", "goal 4"),
        ("j3", "succeeded", "goal 3"),
        ("j2", "running", "goal 2"),
    ]
    assert listed[1].seconds == 2.0
    with pytest.raises(InvalidInputError):
        await client.jobs(limit=0)


async def test_who_waits_for_a_coordinator_is_told(
    fleet: Fleet, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("galerne.cli.following.ADMISSION", 0.01)
    told = anyio.Event()
    changes: list[AnyFact] = []

    class Watcher(PlainScreen):
        def changed(self, fact: AnyFact, state: JobState) -> None:  # noqa: ARG002 - a contract
            changes.append(fact)

        def notice(self, text: str) -> None:
            assert "no coordinator has taken the job yet" in text
            told.set()

    job = await client.submit("Count", job="j")
    views: list[JobView] = []

    async def watch() -> None:
        views.append(await follow(job, Watcher()))

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch)
            await told.wait()
            await fleet.write("j", submitted("j"), ended())
    assert changes == [submitted("j"), ended()]
    assert (views[0].status, views[0].result) == ("succeeded", "42")


# cancelling


async def test_a_cancel_is_a_command_once(fleet: Fleet, client: Client) -> None:
    await fleet.write("j", submitted("j"))
    await client.job("j").cancel("enough")
    await client.job("j").cancel("enough")
    [data] = await fleet.waiting()
    assert decode_command(data) == Cancel(job="j", why="enough")


async def test_a_job_that_waits_for_admission_can_be_cancelled(
    fleet: Fleet, client: Client
) -> None:
    await client.submit("Count", job="j")
    await client.job("j").cancel()
    assert len(await fleet.waiting()) == 2


async def test_cancelling_what_has_ended_says_so(fleet: Fleet, client: Client) -> None:
    await fleet.write("j", submitted("j"), ended())
    with pytest.raises(PermanentError, match="cannot be cancelled: it has succeeded"):
        await client.job("j").cancel()
    gone = Ended(status="cancelled", usage=Usage(), at=NOW, error="enough")
    await fleet.write("k", submitted("k"), gone)
    await client.job("k").cancel()
    assert await fleet.waiting() == []


# the server goes away and comes back


async def test_every_call_goes_through_a_restart(fleet: Fleet, client: Client) -> None:
    await fleet.write("j", submitted("j"))
    await fleet.server.kill()
    seen: dict[str, object] = {}

    async def ask() -> None:
        seen["job"] = (await client.submit("Count", job="k")).id
        seen["jobs"] = len(await client.jobs())
        seen["view"] = (await client.job("j").view()).status
        await client.job("j").cancel()

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            await fleet.server.start()
    assert seen == {"job": "k", "jobs": 1, "view": "running"}
    assert len(await fleet.waiting()) == 2
