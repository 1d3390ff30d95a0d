"""What the work queue has lost is queued anew: the server may skip tasks when it was killed."""

import time
from typing import Any

import anyio
import msgspec
import pytest
from structlog.testing import capture_logs

from galerne.agent import TaskContext
from galerne.bus.connection import connect
from galerne.bus.log import FactLog
from galerne.messages.facts import (
    AnyFact,
    Asked,
    Done,
    JobSpec,
    PlanEnded,
    Planned,
    Ready,
    Submitted,
)
from galerne.messages.ids import DEFAULT_TENANT, JobId, TaskId, plan_task
from galerne.messages.plan import Succeeded, Usage
from galerne.runtime.jobs import Jobs
from galerne.settings import Settings
from integration.fleet import Fleet, echoing, fleet_on, planning, ready, task, until

pytestmark = pytest.mark.anyio

LANE = "executor-normal-default"


def sweeping(settings: Settings, seconds: float) -> Settings:
    coordinator = msgspec.structs.replace(settings.coordinator, sweep=seconds)
    changed: Settings = msgspec.structs.replace(settings, coordinator=coordinator)
    return changed


async def lose_all(fleet: Fleet) -> None:
    """As if the server had never put them into the queue."""
    await fleet.bus.api(f"STREAM.PURGE.{fleet.bus.subjects.stream('TASKS')}")


async def names_of(fleet: Fleet, job: str) -> list[str]:
    return [record.name for record in await fleet.facts_of(job)]


async def test_a_job_whose_tasks_were_lost_goes_to_its_end(settings: Settings) -> None:
    """Two coordinators look, and one queues; each task is done once."""
    async with fleet_on(sweeping(settings, 0.3)) as fleet:
        await fleet.coordinator()
        await fleet.coordinator()
        await fleet.planner(planning(task("1"), task("2"), task("3", "1", "2")))
        await fleet.submit("job")
        for name in ("1", "2"):
            await until(lambda n=name: fleet.find("job", f"ready.executor.normal.{n}"), "ready")  # type: ignore[misc]
        with capture_logs() as said:
            await lose_all(fleet)
            for name in ("1", "2"):
                again = f"resume.executor.normal.{name}.0-1"
                await until(lambda n=again: fleet.find("job", n), "it is queued anew")  # type: ignore[misc]
        assert any(one["event"] == "the queue lost tasks: queued anew" for one in said)
        await fleet.worker(echoing)
        assert (await fleet.end("job")).status == "succeeded"
        names = await names_of(fleet, "job")
        assert len([name for name in names if name.startswith("step.1.")]) == 1
        await fleet.emptied("TASKS", LANE)


async def test_a_lost_answer_of_a_person_is_queued_anew(settings: Settings) -> None:
    """The task was parked, answered and resumed; it is the second message that is lost."""
    begun: list[AnyFact] = [
        Submitted(job=JobSpec(id=JobId("job"), tenant=DEFAULT_TENANT, goal="g"), at=time.time()),
        Planned(revision=1, n=1, task=task("1")),
        PlanEnded(revision=1, count=1),
        Done(task=plan_task(1), outcome=Succeeded({}), usage=Usage(), by="w", attempt=1, at=1.0),
        ready("1"),
        Asked(task=TaskId("1"), n=1, what="question", question="?", at=1.0),
    ]
    async with fleet_on(sweeping(settings, 0.3)) as fleet:
        for fact in begun:
            await fleet.put("job", fact)
        await lose_all(fleet)
        await fleet.coordinator()
        await fleet.decide("job", "1", "answered", value="yes")
        await until(lambda: fleet.find("job", "resume.executor.normal.1.1"), "it is resumed")
        await lose_all(fleet)
        again = await until(
            lambda: fleet.find("job", "resume.executor.normal.1.1-1"), "it is queued anew"
        )
        assert isinstance(again, Ready)
        assert (again.resume, again.again, again.task) == (1, 1, task("1"))


async def test_what_is_queued_runs_or_waits_is_left_alone(settings: Settings) -> None:
    """However often it is looked at."""
    hold = anyio.Event()
    running = anyio.Event()

    async def work(context: TaskContext) -> Any:
        if context.ready.task.id == "1":
            running.set()
            await hold.wait()
        return await echoing(context)

    own = sweeping(settings, 0.0)
    async with fleet_on(own) as fleet, connect(own.bus, "jobs") as bus:
        coordinator = await fleet.coordinator(sweeping(settings, 3600.0))
        await fleet.planner(planning(task("1"), task("2")))
        one_place = msgspec.structs.replace(
            own, worker=msgspec.structs.replace(own.worker, concurrency=1)
        )
        await fleet.worker(work, settings=one_place)
        await fleet.submit("job")
        await running.wait()
        await until(lambda: fleet.find("job", "ready.executor.normal.2"), "the other is queued")
        jobs = Jobs(bus, FactLog(bus), own, time.time)
        await jobs.resume(fleet.address("job").part)
        for _ in range(5):
            await jobs.sweep()
        names = await names_of(fleet, "job")
        assert not [name for name in names if name.startswith("resume.")]
        hold.set()
        assert (await fleet.end("job")).status == "succeeded"
        await coordinator.leave()
