"""Deadlines of jobs and of tasks: they are kept, also by a coordinator that was dead meanwhile."""

import time
from typing import Any

import anyio
import pytest

from galerne.agent import TaskContext
from galerne.bus.server import NatsServer
from galerne.core.decide import TIME_IS_OVER
from galerne.messages.chat import ChatRequest
from galerne.messages.facts import Asked, Done, Ready
from galerne.messages.plan import Failed, Succeeded
from galerne.settings import Settings
from galerne.tools import tool
from integration.fleet import (
    ScriptedModel,
    agent,
    calling,
    echoing,
    eventually,
    fleet_on,
    planning,
    task,
    until,
)

pytestmark = pytest.mark.anyio

OVER = Failed("deadline", TIME_IS_OVER)


class Work:
    """An agent whose tasks named `slow…` never end; what was begun and what was stopped."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.stopped: list[str] = []

    async def __call__(self, context: TaskContext) -> Any:
        name = context.ready.task.id
        self.begun.append(name)
        if not name.startswith("slow"):
            return f"{name} is done"
        try:
            await anyio.sleep_forever()
        finally:
            self.stopped.append(name)


async def passes(at: float) -> None:
    await eventually(lambda: time.time() > at, "the time is over")


# jobs


@pytest.mark.parametrize("coordinator_dies", [False, True])
async def test_a_job_ends_at_its_deadline_with_what_it_has(
    settings: Settings, coordinator_dies: bool
) -> None:
    work = Work()
    async with fleet_on(settings) as fleet:
        await fleet.coordinator()
        await fleet.planner(planning(task("1"), task("slow"), task("3", "slow")))
        await fleet.worker(work)
        deadline = time.time() + 2.0
        await fleet.submit("job", deadline=deadline)
        await fleet.done("job", "1")
        await eventually(lambda: "slow" in work.begun, "the other is begun")
        if coordinator_dies:
            await fleet.kill("coordinator")
            await passes(deadline + 0.3)
            assert await fleet.find("job", "end") is None
            await fleet.coordinator()
        ended = await fleet.end("job")
        assert (ended.status, ended.error) == (
            "deadline_exceeded",
            "the job's deadline has passed",
        )
        assert ended.result == {"results": {"1": "1 is done"}}
        assert ended.at >= deadline
        await eventually(lambda: work.stopped == ["slow"], "the agent is stopped")
        await fleet.emptied("TASKS", "executor-normal-default")


async def test_a_job_that_comes_too_late_begins_nothing(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        await fleet.submit("job", deadline=time.time() - 1)
        await fleet.coordinator()
        assert (await fleet.end("job")).status == "deadline_exceeded"
        names = [one.name for one in await fleet.facts_of("job")]
        assert names == ["submitted", "end"]


async def test_a_job_in_time_is_not_touched(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        await fleet.coordinator()
        await fleet.planner(planning(task("1")))
        await fleet.worker(Work())
        deadline = time.time() + 1.0
        await fleet.submit("job", deadline=deadline)
        ended = await fleet.end("job")
        assert ended.status == "succeeded"
        await passes(deadline + 0.3)
        assert await fleet.end("job") == ended


async def test_a_job_that_waits_for_a_person_ends_too(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        await fleet.coordinator()
        await fleet.planner(planning(task("1", kind="ask")))
        await fleet.submit("job", deadline=time.time() + 1.0)
        await fleet.asked("job", "1", n=0)
        assert (await fleet.end("job")).status == "deadline_exceeded"


# tasks


async def test_a_running_task_is_stopped(settings: Settings) -> None:
    work = Work()
    async with fleet_on(settings) as fleet:
        await fleet.coordinator()
        await fleet.planner(planning(task("slow", timeout=0.7)))
        await fleet.worker(work)
        await fleet.submit("job")
        ended = await fleet.end("job")
        assert (ended.status, ended.error) == ("failed", f"task slow failed: {TIME_IS_OVER}")
        await eventually(lambda: work.stopped == ["slow"], "the agent is stopped")
        await fleet.emptied("TASKS", "executor-normal-default")


async def test_a_worker_keeps_the_time_alone(settings: Settings) -> None:
    work = Work()
    async with fleet_on(settings) as fleet:
        await fleet.worker(work)
        spec = task("slow", timeout=0.5)
        over = time.time() + 0.5
        await fleet.put(
            "job",
            Ready(lane="executor", priority="normal", task=spec, goal="g", deadline=over),
        )
        done = await fleet.done("job", "slow")
        assert (done.outcome, done.attempt) == (OVER, 1)
        assert done.at >= over
        assert work.stopped == ["slow"]


@pytest.mark.parametrize("coordinator_dies", [False, True])
async def test_a_queued_task_runs_out_of_time(settings: Settings, coordinator_dies: bool) -> None:
    async with fleet_on(settings) as fleet:
        await fleet.coordinator()
        await fleet.planner(planning(task("1", timeout=1.0)))
        await fleet.submit("job")
        ready = await until(lambda: fleet.find("job", "ready.executor.normal.1"), "it is queued")
        assert isinstance(ready, Ready)
        assert ready.deadline is not None
        if coordinator_dies:
            await fleet.kill("coordinator")
            await passes(ready.deadline + 0.3)
            await fleet.coordinator()
        done = await fleet.done("job", "1")
        assert (done.outcome, done.by) == (OVER, "coordinator")
        assert (await fleet.end("job")).status == "failed"
        model = ScriptedModel()
        await fleet.worker(echoing, model)
        await fleet.emptied("TASKS", "executor-normal-default")
        assert not model.keys


async def test_a_parked_task_runs_out_of_time(settings: Settings) -> None:
    @tool(effect="once", approve=True)
    async def pay() -> str:
        """Pay."""
        return "paid"

    async with fleet_on(settings) as fleet:
        await fleet.coordinator()
        await fleet.planner(planning(task("1", timeout=1.5)))
        await fleet.worker(calling("pay"))
        await fleet.tools(pay)
        await fleet.submit("job")
        ask = await fleet.parked("job", "1")
        assert isinstance(ask, Asked)
        done = await fleet.done("job", "1")
        assert (done.outcome, done.by) == (OVER, "coordinator")
        assert (await fleet.end("job")).status == "failed"
        await fleet.decide("job", "1", "approved", hash=ask.hash)
        await fleet.emptied("SUBMIT", "commands")
        assert await fleet.find("job", "resume.executor.normal.1.1") is None


async def test_a_dead_workers_task_runs_out_of_time(settings: Settings) -> None:
    work = Work()
    async with fleet_on(settings) as fleet:
        await fleet.coordinator()
        await fleet.planner(planning(task("slow", timeout=1.0)))
        worker = await fleet.worker(work)
        await fleet.submit("job")
        await eventually(lambda: bool(work.begun), "it runs")
        await worker.kill()
        assert (await fleet.done("job", "slow")).by == "coordinator"
        assert (await fleet.end("job")).status == "failed"


async def test_everything_is_dead_when_time_is_over(server: NatsServer, settings: Settings) -> None:
    work = Work()
    async with fleet_on(settings) as fleet:
        await fleet.coordinator()
        await fleet.planner(planning(task("slow", timeout=1.0)))
        await fleet.worker(work)
        await fleet.submit("job")
        await eventually(lambda: bool(work.begun), "it runs")
        over = time.time() + 1.0
        await fleet.kill()
        await server.kill()
        await passes(over + 0.2)
        await server.start()
        await fleet.coordinator()
        assert (await fleet.done("job", "slow")).outcome == OVER
        assert (await fleet.end("job")).status == "failed"


@pytest.mark.parametrize("offset", [-0.05, -0.02, 0.0, 0.02, 0.05])
async def test_a_photo_finish_has_one_winner(settings: Settings, offset: float) -> None:
    """The worker's clock lags, so it commits about when the coordinator's timer rings."""

    async def answer(_: ChatRequest) -> str:
        await finish.wait()
        return "in time"

    finish = anyio.Event()
    async with fleet_on(settings) as fleet:
        await fleet.coordinator()
        await fleet.planner(planning(*(task(str(n), timeout=1.0) for n in range(8))))
        late = ScriptedModel(answer)
        await fleet.worker(echoing, late, clock=lambda: time.time() - 5.0)
        await fleet.worker(echoing, late, clock=lambda: time.time() - 5.0)
        await fleet.submit("job")
        readies = [
            await until(lambda n=n: fleet.find("job", f"ready.executor.normal.{n}"), "queued")  # type: ignore[misc]
            for n in range(8)
        ]
        deadlines = [one.deadline for one in readies if isinstance(one, Ready) and one.deadline]
        assert len(deadlines) == 8
        await passes(min(deadlines) + offset)
        finish.set()
        ended = await fleet.end("job")
        done = {
            one.fact.task: one.fact.outcome
            for one in await fleet.facts_of("job")
            if isinstance(one.fact, Done) and one.fact.task.isdigit()
        }
        late_ones = [name for name, outcome in done.items() if outcome == OVER]
        in_time = [name for name, outcome in done.items() if outcome == Succeeded("in time")]
        assert len(late_ones) + len(in_time) == len(done)
        if ended.status == "succeeded":
            assert len(in_time) == 8
        else:
            assert ended.error is not None
            assert TIME_IS_OVER in ended.error
            assert any(f"task {name} failed" in ended.error for name in late_ones)


async def test_an_outcome_just_before_the_timer_stands(settings: Settings) -> None:
    """The coordinator has not heard of it yet when the timer rings."""
    async with fleet_on(settings) as fleet:
        coordinator = await fleet.coordinator()
        await fleet.planner(planning(task("1", timeout=1.0)))
        await fleet.submit("job")
        ready = await until(lambda: fleet.find("job", "ready.executor.normal.1"), "it is queued")
        assert isinstance(ready, Ready)
        publish = coordinator.bus.publish
        stands = anyio.Event()

        async def late(subject: str, data: bytes, **options: Any) -> int:
            if subject.endswith(".done.1") and not stands.is_set():
                done = Done(
                    task=ready.task.id,
                    outcome=Succeeded("just in time"),
                    usage=(await fleet.done("job", "plan-1")).usage,
                    by="worker",
                    attempt=1,
                    at=time.time(),
                )
                await fleet.put("job", done)
                stands.set()
            return await publish(subject, data, **options)

        coordinator.bus.publish = late  # type: ignore[method-assign]
        ended = await fleet.end("job")
        assert stands.is_set()
        assert (ended.status, ended.result) == ("succeeded", {"1": "just in time"})


async def test_a_plan_may_have_many_timers(settings: Settings) -> None:
    """Each of forty tasks has its own time; the slow ones fail by it, whichever comes first."""
    work = Work()
    async with fleet_on(settings) as fleet:
        await fleet.coordinator()
        await fleet.planner(
            planning(
                *(task(str(n), timeout=20.0) for n in range(38)),
                task("slow1", timeout=1.0),
                task("slow2", timeout=8.0),
            )
        )
        await fleet.worker({"agent": agent(work)})
        await fleet.submit("job")
        ended = await fleet.end("job")
        assert ended.error == f"task slow1 failed: {TIME_IS_OVER}"
