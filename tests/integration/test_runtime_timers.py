"""What a coordinator remembers of idle jobs: read again, acknowledged late, woken in time."""

# Facts are handed to `Jobs` by hand, so that each comes exactly when the test wants it.
# pyright: reportPrivateUsage=false

import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import msgspec
import pytest

from galerne.bus import store
from galerne.bus.connection import Bus, connect
from galerne.bus.log import FactLog, Record
from galerne.bus.queue import Delivery
from galerne.errors import GalerneError, TransientError
from galerne.messages.facts import (
    AnyFact,
    Asked,
    Claimed,
    Decided,
    Done,
    Ended,
    JobSpec,
    PlanEnded,
    Planned,
    Submitted,
)
from galerne.messages.ids import DEFAULT_TENANT, JobId, TaskId, plan_task
from galerne.messages.plan import Succeeded, Usage
from galerne.messages.subjects import JobAddress
from galerne.runtime.jobs import Jobs
from galerne.runtime.timers import LONGEST_REST
from galerne.settings import Settings
from integration.fleet import Fleet, fleet_on, ready, task, until

pytestmark = pytest.mark.anyio

ANSWER = Decided(task=TaskId("1"), n=1, verdict="answered", value=1, by="ann", at=3.0)
RESUMED = "resume.executor.normal.1.1"


class GatedLog(FactLog):
    """Counts what is read of each job; reading and writing wait while their gates are shut."""

    def __init__(self, bus: Bus) -> None:
        super().__init__(bus)
        self.read_of: Counter[JobAddress] = Counter()
        self.reading, self.writing = Gate(), Gate()
        self.posted: list[Callable[[], None]] = []
        """Writes of which nobody waits for an answer, held while `holds_posts`."""
        self.holds_posts = self.loses_posts = False

    async def read_job(self, address: JobAddress, after: int = 0) -> list[Record]:
        records = await super().read_job(address, after)
        self.read_of[address] += 1
        await self.reading.pass_through()
        return records

    async def write(
        self, address: JobAddress, fact: AnyFact, message_id: str | None = None
    ) -> Record | None:
        await self.writing.pass_through()
        return await super().write(address, fact, message_id)

    def post(
        self,
        address: JobAddress,
        fact: AnyFact,
        message_id: str,
        settled: Callable[[GalerneError | None], None],
    ) -> None:
        if self.loses_posts:
            settled(TransientError("the answer was lost"))
            return
        post = super().post
        self.posted.append(lambda: post(address, fact, message_id, settled))
        if not self.holds_posts:
            self.posted.pop()()


class Gate:
    """Open at first; `reached` is set by whoever waits before it."""

    def __init__(self) -> None:
        self.reached = anyio.Event()
        self._open = anyio.Event()
        self._open.set()

    def shut(self) -> None:
        self._open = anyio.Event()

    def open(self) -> None:
        self._open.set()

    async def pass_through(self) -> None:
        if not self._open.is_set():
            self.reached.set()
        await self._open.wait()


class Noted(Delivery):
    """A delivery that only notes what becomes of it."""

    acked = False

    def ack(self) -> None:
        self.acked = True


class Rig:
    """The jobs of one coordinator on a connection of their own, and its log."""

    def __init__(self, fleet: Fleet, bus: Bus, settings: Settings) -> None:
        self.fleet = fleet
        self.bus = bus
        self.log = GatedLog(bus)
        self.jobs = Jobs(bus, self.log, settings, time.time)

    async def resume(self) -> None:
        for part in range(self.bus.subjects.partitions):
            await self.jobs.resume(part)

    async def deliver(self, job: str, fact: AnyFact, tasks: anyio.abc.TaskGroup) -> Noted:
        """Put a fact into the log and hand it over."""
        await self.fleet.put(job, fact)
        record = (await self.fleet.facts_of(job))[-1]
        assert record.fact == fact
        reply = f"$JS.ACK.EVENTS.part.1.{record.sequence}.1.0.0"
        delivery = Noted(self.bus, "subject", reply, b"")
        self.jobs.on_fact(record, delivery, tasks)
        return delivery


@asynccontextmanager
async def rig_on(settings: Settings, sweep: float = 3600.0) -> AsyncGenerator[Rig]:
    coordinator = msgspec.structs.replace(settings.coordinator, sweep=sweep)
    own = msgspec.structs.replace(settings, coordinator=coordinator)
    async with fleet_on(own) as fleet, connect(own.bus, "jobs") as bus:
        yield Rig(fleet, bus, own)


def begun(job: str) -> list[Any]:
    """A job that is planned and whose only task is queued."""
    spec = JobSpec(id=JobId(job), tenant=DEFAULT_TENANT, goal="g")
    planned = Done(
        task=plan_task(1), outcome=Succeeded({}), usage=Usage(), by="w", attempt=1, at=1.0
    )
    return [
        Submitted(job=spec, at=time.time()),
        Planned(revision=1, n=1, task=task("1")),
        PlanEnded(revision=1, count=1),
        planned,
        ready("1"),
    ]


def asked(seconds: float | None) -> Asked:
    """A question of its task; nobody answers in time after so many seconds."""
    end = None if seconds is None else time.time() + seconds
    return Asked(task=TaskId("1"), n=1, what="question", question="?", until=end, at=1.0)


async def put(fleet: Fleet, job: str, *facts: AnyFact) -> None:
    for fact in facts:
        await fleet.put(job, fact)


# reading idle jobs again


async def test_timers_do_not_pile_up_in_a_job_that_is_read_again(settings: Settings) -> None:
    async with rig_on(settings, sweep=0.0) as rig:
        await put(rig.fleet, "job", *begun("job"), asked(3600.0))
        await rig.resume()
        for reads in range(1, 9):
            assert rig.log.read_of[rig.fleet.address("job")] == reads
            assert len(rig.jobs._timers) == 1
            await rig.jobs.sweep()


async def test_the_timers_of_a_job_go_with_it(settings: Settings) -> None:
    async with rig_on(settings) as rig, anyio.create_task_group() as tasks:
        for n in range(100):
            await put(rig.fleet, f"job{n}", *begun(f"job{n}"), asked(3600.0))
        await rig.resume()
        assert len(rig.jobs._timers) == 100
        for n in range(100):
            fact = Done(
                task=TaskId("answer"),
                outcome=Succeeded({}),
                usage=Usage(),
                by="w",
                attempt=1,
                at=1.0,
            )
            await rig.deliver(f"job{n}", fact, tasks)
        await until(lambda: _emptied(rig), "all are forgotten")
        assert len(rig.jobs._timers) < 100


async def _emptied(rig: Rig) -> bool:
    return not rig.jobs.tenants()


async def test_who_waits_for_a_person_is_read_ever_more_seldom(settings: Settings) -> None:
    """And a missed answer is found nevertheless."""
    async with rig_on(settings, sweep=15.0) as rig:
        await put(rig.fleet, "parked", *begun("parked"), asked(None))
        await put(rig.fleet, "runs", *begun("runs"))
        real, ahead = rig.bus.now, 0.0
        rig.bus.now = lambda: real() + ahead
        await rig.resume()
        while ahead < 900.0:
            ahead += 5.0
            await rig.jobs.sweep()
        read = rig.log.read_of
        assert read[rig.fleet.address("runs")] > 40
        assert read[rig.fleet.address("parked")] <= 8
        await rig.fleet.put("parked", ANSWER)
        for _ in range(2):
            ahead += LONGEST_REST
            await rig.jobs.sweep()
        assert await rig.fleet.find("parked", RESUMED) is not None


async def test_a_fact_begins_the_rest_anew(settings: Settings) -> None:
    async with rig_on(settings, sweep=15.0) as rig, anyio.create_task_group() as tasks:
        await put(rig.fleet, "job", *begun("job"), asked(None))
        real, ahead = rig.bus.now, 0.0
        rig.bus.now = lambda: real() + ahead
        await rig.resume()
        for _ in range(5):
            ahead += LONGEST_REST
            await rig.jobs.sweep()
        before = rig.log.read_of[rig.fleet.address("job")]
        claim = Claimed(task=TaskId("1"), by="w", until=0.0, attempt=1)
        await rig.deliver("job", claim, tasks)
        ahead += 20.0
        await rig.jobs.sweep()
        assert rig.log.read_of[rig.fleet.address("job")] == before + 1


async def test_a_timer_that_rings_while_its_job_is_read_is_not_lost(settings: Settings) -> None:
    async with rig_on(settings) as rig, anyio.create_task_group() as tasks:
        await put(rig.fleet, "job", *begun("job"), asked(0.5))
        tasks.start_soon(rig.jobs.keep_time)
        rig.log.reading.shut()
        tasks.start_soon(rig.resume)
        await rig.log.reading.reached.wait()

        async def overdue() -> bool:
            fact = await rig.fleet.find("job", "ask.1.1.1")
            assert isinstance(fact, Asked)
            assert fact.until is not None
            return time.time() > fact.until + 0.1

        await until(overdue, "its time is over")
        rig.log.reading.open()
        fact = await until(lambda: rig.fleet.find("job", "decided.1.1.1"), "it is decided")
        assert isinstance(fact, Decided)
        assert fact.verdict == "expired"
        tasks.cancel_scope.cancel()


async def test_a_timer_rings_in_a_job_that_was_being_read_again(settings: Settings) -> None:
    """The first reading has set it, and it rings during the second."""
    async with rig_on(settings, sweep=0.0) as rig, anyio.create_task_group() as tasks:
        await put(rig.fleet, "job", *begun("job"), asked(0.5))
        await rig.resume()
        rig.log.reading.shut()
        tasks.start_soon(rig.jobs.sweep)
        await rig.log.reading.reached.wait()
        tasks.start_soon(rig.jobs.keep_time)

        async def rung() -> bool:
            return len(rig.jobs._timers) == 0

        await until(rung, "its timer has rung")
        rig.log.reading.open()
        await until(lambda: rig.fleet.find("job", "decided.1.1.1"), "it is decided")
        tasks.cancel_scope.cancel()


# acknowledged when it is written


async def test_a_fact_is_acknowledged_when_its_answer_is_stored(settings: Settings) -> None:
    """Its job is not in memory: the log is read first."""
    async with rig_on(settings) as rig, anyio.create_task_group() as tasks:
        await put(rig.fleet, "job", *begun("job"), asked(None))
        rig.log.writing.shut()
        delivery = await rig.deliver("job", ANSWER, tasks)
        await rig.log.writing.reached.wait()
        assert not delivery.acked
        rig.log.writing.open()
        await until(lambda: _is_acked(delivery), "it is acknowledged")
        assert await rig.fleet.find("job", RESUMED) is not None


async def test_a_fact_is_acknowledged_when_its_answer_was_posted(settings: Settings) -> None:
    """Its job is in memory: nothing is read, and nobody waits for the write."""
    async with rig_on(settings) as rig, anyio.create_task_group() as tasks:
        await put(rig.fleet, "job", *begun("job"), asked(None))
        await rig.resume()
        rig.log.holds_posts = True
        delivery = await rig.deliver("job", ANSWER, tasks)
        assert not delivery.acked
        (post,) = rig.log.posted
        post()
        assert not delivery.acked
        await until(lambda: _is_acked(delivery), "it is acknowledged")
        assert await rig.fleet.find("job", RESUMED) is not None


async def test_a_fact_is_acknowledged_when_a_second_write_was_needed(settings: Settings) -> None:
    async with rig_on(settings) as rig, anyio.create_task_group() as tasks:
        await put(rig.fleet, "job", *begun("job"), asked(None))
        await rig.resume()
        rig.log.writing.shut()
        rig.log.loses_posts = True
        delivery = await rig.deliver("job", ANSWER, tasks)
        await rig.log.writing.reached.wait()
        assert not delivery.acked
        rig.log.writing.open()
        await until(lambda: _is_acked(delivery), "it is acknowledged")
        assert await rig.fleet.find("job", RESUMED) is not None


async def _is_acked(delivery: Noted) -> bool:
    return delivery.acked


# what others have written


async def test_an_answer_that_went_by_is_seen_when_its_time_is_over(settings: Settings) -> None:
    """The clock's own word loses, so the job is read again, and not by the sweep."""
    async with rig_on(settings) as rig, anyio.create_task_group() as tasks:
        await put(rig.fleet, "job", *begun("job"), asked(0.5))
        await rig.resume()
        await rig.fleet.put("job", ANSWER)
        tasks.start_soon(rig.jobs.keep_time)
        await until(lambda: rig.fleet.find("job", RESUMED), "its task is queued anew")
        assert await rig.fleet.find("job", "decided.1.1.1") == ANSWER
        tasks.cancel_scope.cancel()


async def test_what_is_purged_under_a_write_is_not_ended(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An end would stand in the way of the next job of that id."""
    async with rig_on(settings) as rig, anyio.create_task_group() as tasks:
        subjects, job = rig.bus.subjects, rig.fleet.address("job")
        await put(rig.fleet, "job", *begun("job"), asked(None))
        rig.log.writing.shut()
        delivery = await rig.deliver("job", ANSWER, tasks)
        await rig.log.writing.reached.wait()
        await rig.fleet.put("job", ready("1", resume=1))  # another replica is first
        last, purged = store.last, list[str]()

        async def purge_first(bus: Bus, stream: str, subject: str) -> Any:
            if not purged:
                purged.append(subject)
                await bus.api(f"STREAM.PURGE.{stream}", {"filter": subjects.job(job)})
            return await last(bus, stream, subject)

        monkeypatch.setattr(store, "last", purge_first)
        rig.log.writing.open()
        await until(lambda: _is_acked(delivery), "it is acknowledged")
        assert purged == [subjects.job(job, RESUMED)]
        await until(lambda: _emptied(rig), "it is forgotten")
        assert await rig.fleet.facts_of("job") == []


async def test_open_jobs_are_found_without_what_they_say(settings: Settings) -> None:
    """Taking a part over reads the logs of its open jobs, and of the others not a byte."""
    async with rig_on(settings) as rig:
        for n in range(20):
            await put(rig.fleet, f"over{n}", begun(f"over{n}")[0])
            await rig.fleet.put(f"over{n}", _ended())
        await put(rig.fleet, "open", *begun("open"))
        heard = 0
        read = FactLog._read_batch

        async def counted(log: FactLog, *arguments: Any) -> Any:
            nonlocal heard
            messages, more = await read(log, *arguments)
            heard += len(messages)
            return messages, more

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(FactLog, "_read_batch", counted)
            await rig.resume()
        assert rig.jobs.tenants() == {DEFAULT_TENANT}
        assert rig.log.read_of == Counter({rig.fleet.address("open"): 1})
        assert heard == len(begun("open"))


def _ended() -> AnyFact:
    return Ended(status="failed", usage=Usage(), at=1.0, error="x" * 8000)
