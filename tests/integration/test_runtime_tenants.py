"""Tenants: quotas hold whoever dies, a flood of one does not keep another waiting."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import anyio
import msgspec
import pytest

from galerne.agent import TaskContext
from galerne.bus import tenants
from galerne.bus.connection import Message
from galerne.bus.queue import Delivery
from galerne.bus.server import NatsServer
from galerne.bus.topology import provision
from galerne.messages.codec import encode
from galerne.messages.facts import Cancelled, Ended, JobSpec, Priority, Submitted
from galerne.messages.ids import DEFAULT_TENANT, JobId
from galerne.messages.plan import Succeeded
from galerne.messages.requests import Cancel, Submit
from galerne.settings import Settings, TenantLimits, TenantSettings
from integration.fleet import (
    PATIENCE,
    Fleet,
    agent,
    echoing,
    eventually,
    fleet_on,
    planning,
    pub,
    pulling,
    raw,
    ready,
    task,
    until,
)

pytestmark = pytest.mark.anyio

PLAN = [task("1")]
RESULT = {"1": "reply to do 1"}


def with_tenants(settings: Settings, **changes: Any) -> Settings:
    changed: Settings = msgspec.structs.replace(settings, tenants=TenantSettings(**changes))
    return changed


async def submit(fleet: Fleet, tenant: str, *jobs: str, priority: Priority = "normal") -> None:
    async with anyio.create_task_group() as group:
        for job in jobs:
            data = encode(Submit(goal="g", job=job, priority=priority))
            group.start_soon(fleet.submit_bytes, data, tenant)


async def in_progress(fleet: Fleet, tenant: str) -> tuple[int, int, int]:
    """Jobs that have begun, jobs that have ended, and the most at once, by the log's own order."""
    subjects = fleet.bus.subjects
    begun = await fleet.facts.read(subjects.events(tenant=tenant, rest="submitted"))
    ended = await fleet.facts.read(subjects.events(tenant=tenant, rest="end"))
    now = most = 0
    for record in sorted([*begun, *ended], key=lambda record: record.sequence):
        now += 1 if isinstance(record.fact, Submitted) else -1
        most = max(most, now)
    return len(begun), len(ended), most


def has_begun(fleet: Fleet, tenant: str, count: int) -> Callable[[], Awaitable[bool]]:
    async def look() -> bool:
        return (await in_progress(fleet, tenant))[0] >= count

    return look


def has_ended(fleet: Fleet, tenant: str, count: int) -> Callable[[], Awaitable[bool]]:
    async def look() -> bool:
        return (await in_progress(fleet, tenant))[1] >= count

    return look


async def consumers(fleet: Fleet) -> set[str]:
    subjects = fleet.bus.subjects
    lanes = await tenants.consumer_names(fleet.bus, subjects.stream("TASKS"))
    return lanes | await tenants.consumer_names(fleet.bus, subjects.stream("SUBMIT"))


class Steps:
    """Tasks that come here wait until they are let through, one at a time."""

    def __init__(self) -> None:
        self.came: list[tuple[str, str]] = []
        self._tokens = anyio.Semaphore(0)

    async def __call__(self, context: TaskContext) -> Any:
        self.came.append((context.tenant, context.ready.task.id))
        await self._tokens.acquire()
        return 1

    def more_than(self, count: int) -> bool:
        return len(self.came) > count

    def let_through(self) -> None:
        self._tokens.release()


# quotas


async def test_the_quota_is_exact_while_both_coordinators_are_killed(settings: Settings) -> None:
    limits = {"acme": TenantLimits(active=3)}
    async with fleet_on(with_tenants(settings, limits=limits)) as fleet:
        members = [await fleet.coordinator() for _ in range(2)]
        await fleet.planner(planning(*PLAN))
        await fleet.worker(echoing)
        jobs = [f"job-{n}" for n in range(20)]
        await submit(fleet, "acme", *jobs)
        for count in (1, 4, 8, 12):
            await until(has_ended(fleet, "acme", count), f"{count} have ended")
            await members.pop(0).kill()
            members.append(await fleet.coordinator())
        for job in jobs:
            assert (await fleet.end(job, "acme")).result == RESULT
        begun, ended, most = await in_progress(fleet, "acme")
        assert (begun, ended) == (20, 20)
        assert most == 3
        await fleet.emptied("SUBMIT", "admit-acme")


async def test_the_next_ones_wait_in_the_order_of_their_submission(settings: Settings) -> None:
    async with fleet_on(with_tenants(settings, active=2)) as fleet:
        await fleet.coordinator()
        for n in range(6):
            await submit(fleet, "acme", f"job-{n}")
        await until(has_begun(fleet, "acme", 2), "the quota is used")
        for n in range(4):  # nobody works on them, so they end one by one as they are cancelled
            command = encode(Cancel(job=f"job-{n}"))
            await fleet.bus.publish(fleet.bus.subjects.command("acme"), command)
            await until(has_begun(fleet, "acme", n + 3), "the next one begins")
        place = fleet.bus.subjects.events(tenant="acme", rest="submitted")
        records = sorted(await fleet.facts.read(place), key=lambda record: record.sequence)
        begun = [record.address.job for record in records]
        assert set(begun[:2]) == {"job-0", "job-1"}  # these two are admitted side by side
        assert begun[2:] == [f"job-{n}" for n in range(2, 6)]


async def test_a_job_that_waits_is_cancelled_before_it_begins(settings: Settings) -> None:
    async with fleet_on(with_tenants(settings, active=1)) as fleet:
        await fleet.coordinator()
        await submit(fleet, "acme", "first")
        await until(has_begun(fleet, "acme", 1), "the quota is used")
        await submit(fleet, "acme", "second")
        for job in ("second", "first"):
            command = encode(Cancel(job=job, why="no more"))
            await fleet.bus.publish(fleet.bus.subjects.command("acme"), command)
            ended = await fleet.end(job, "acme")
            assert (ended.status, ended.error) == ("cancelled", "no more")
        await fleet.emptied("SUBMIT", "admit-acme")
        assert await fleet.find("second", "submitted", "acme") is None
        assert await fleet.quarantined() == []


async def test_lost_acknowledgements_heal(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lost(*_: Any) -> None:
        return

    monkeypatch.setattr("galerne.runtime.jobs.redeem", lost)
    monkeypatch.setattr("galerne.runtime.admission.AGAIN", 0.2)
    async with fleet_on(with_tenants(settings, active=1)) as fleet:
        await fleet.coordinator()
        await fleet.planner(planning(*PLAN))
        await fleet.worker(echoing)
        await submit(fleet, "acme", "one", "two", "three")
        for job in ("one", "two", "three"):
            assert (await fleet.end(job, "acme")).status == "succeeded"
        assert (await in_progress(fleet, "acme"))[2] == 1
        await fleet.emptied("SUBMIT", "admit-acme")


async def test_the_next_one_begins_when_a_job_ends(settings: Settings) -> None:
    """And not when its own request is delivered again."""
    coordinator = msgspec.structs.replace(settings.coordinator, ack_wait=60.0)
    slow = msgspec.structs.replace(settings, coordinator=coordinator)
    async with fleet_on(with_tenants(slow, active=1)) as fleet:
        await fleet.coordinator()
        await submit(fleet, "acme", "one")
        await until(has_begun(fleet, "acme", 1), "the quota is used")
        await submit(fleet, "acme", "two")
        command = encode(Cancel(job="one"))
        await fleet.bus.publish(fleet.bus.subjects.command("acme"), command)
        await fleet.end("one", "acme")
        await until(has_begun(fleet, "acme", 2), "the next one begins", 5.0)


@pytest.mark.parametrize(
    "ticket",
    [
        "galerne.command.default",
        "galerne.submit.default",
        "$JS.ACK.GALERNE_EVENTS.part-0.1.1.1.1.0",
        "$JS.ACK.GALERNE_SUBMIT.admit-default.1.1.1.1.0 4\r\n+ACK\r\nPUB forged",
        f"$JS.ACK.GALERNE_SUBMIT.admit-default.1.{'9' * 5000}.1.1.0",
        "galerne.command.>",
    ],
)
async def test_a_forged_ticket_is_sent_nowhere(settings: Settings, ticket: str) -> None:
    async with fleet_on(settings) as fleet:
        member = await fleet.coordinator()
        came: list[str] = []
        closed = anyio.Event()

        async def note(message: Message) -> None:
            came.append(message.subject)

        for root in ("galerne.command", "galerne.submit", "$JS.ACK.GALERNE_EVENTS"):
            await fleet.bus.subscribe(f"{root}.>", note)
        await fleet.bus.subscribe("forged", note)
        api = member.bus.api

        async def watched(name: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
            answer = await api(name, body)
            if name.startswith("STREAM.PURGE") and "forged" in str(body):
                closed.set()
            return answer

        member.bus.api = watched  # type: ignore[method-assign]
        spec = JobSpec(id=JobId("forged"), tenant=DEFAULT_TENANT, goal="g")
        await fleet.put("forged", Submitted(job=spec, at=1.0, ticket=ticket))
        await fleet.put("forged", Cancelled(why="enough", at=1.0))
        await fleet.end("forged")
        with anyio.fail_after(PATIENCE):
            await closed.wait()  # the last thing that is done of an ended job
        await fleet.facts_of("forged")
        answered = [subject for subject in came if not subject.startswith("$JS.ACK")]
        assert answered == []
        assert ticket not in came
        assert not member.ended.is_set()
        assert not member.bus.closed.is_set()
        await fleet.submit("good")
        await until(lambda: fleet.find("good", "submitted"), "others are admitted")
        assert await fleet.quarantined() == []


async def test_a_repetition_of_a_job_in_progress_takes_no_place(settings: Settings) -> None:
    steps = Steps()
    async with fleet_on(with_tenants(settings, active=2)) as fleet:
        await fleet.coordinator()
        await fleet.planner(agent(steps, lane="planner", kinds=("plan", "answer")))
        for _ in range(5):
            await submit(fleet, "acme", "job")
        await submit(fleet, "acme", "other")
        await until(has_begun(fleet, "acme", 2), "the other one begins beside it")
        name = fleet.bus.subjects.stream("SUBMIT")

        async def two_held() -> bool:
            info = await fleet.bus.api(f"CONSUMER.INFO.{name}.admit-acme")
            return (info["num_pending"], info["num_ack_pending"]) == (0, 2)

        await until(two_held, "only the requests of the two jobs stay")


async def test_a_changed_quota_holds_after_the_next_start(settings: Settings) -> None:
    async with fleet_on(with_tenants(settings, active=1)) as fleet:
        member = await fleet.coordinator()
        await submit(fleet, "acme", *(f"job-{n}" for n in range(5)))
        await until(has_begun(fleet, "acme", 1), "the quota is used")
        await member.kill()
        await fleet.coordinator(with_tenants(settings, limits={"acme": TenantLimits(active=4)}))
        await until(has_begun(fleet, "acme", 4), "the new quota is used")
        assert (await in_progress(fleet, "acme"))[0] == 4


# fair share


@pytest.mark.parametrize("priority", ["normal", "high"])
async def test_a_single_job_starts_beside_a_thousand(
    settings: Settings, priority: Priority
) -> None:
    """Counted in tasks that end between the moment when the worker has it and its first claim."""
    steps, slots = Steps(), settings.worker.concurrency
    async with fleet_on(settings) as fleet:
        await fleet.coordinator()
        await fleet.planner(agent(steps, lane="planner", kinds=("plan", "answer")))
        await submit(fleet, "flood", *(f"job-{n}" for n in range(1000)), priority=priority)
        await until(has_begun(fleet, "flood", 200), "the flood's quota is used")
        await eventually(lambda: len(steps.came) == slots, "every place is taken")
        await submit(fleet, "single", "one")
        stream = fleet.bus.subjects.stream("TASKS")

        async def delivered() -> bool:
            names = await consumers(fleet)
            if "planner-normal-single" not in names:
                return False
            info = await fleet.bus.api(f"CONSUMER.INFO.{stream}.planner-normal-single")
            return int(info["num_ack_pending"]) == 1

        await until(delivered, "the worker has the single job's first task")
        passed = 0
        while ("single", "plan-1") not in steps.came:
            before = len(steps.came)
            steps.let_through()
            passed += 1
            await eventually(partial(steps.more_than, before), "the next one runs")
        assert passed <= slots


async def test_a_worker_holds_little_of_what_others_could_do(settings: Settings) -> None:
    """Every tenant's queue brings one task in advance, and no more."""
    steps, slots = Steps(), settings.worker.concurrency
    async with fleet_on(settings) as fleet:
        await fleet.coordinator()
        await fleet.planner(agent(steps, lane="planner", kinds=("plan", "answer")))
        for name in ("ann", "bob"):
            await submit(fleet, name, *(f"job-{n}" for n in range(20)))
        for name in ("ann", "bob"):
            await until(has_begun(fleet, name, 20), "all have begun")
        await eventually(lambda: len(steps.came) == slots, "every place is taken")
        stream = fleet.bus.subjects.stream("TASKS")
        held = 0
        for name in ("ann", "bob"):
            info = await fleet.bus.api(f"CONSUMER.INFO.{stream}.planner-normal-{name}")
            held += int(info["num_ack_pending"])
        assert held <= 2 * slots + 2
        second = Steps()
        await fleet.planner(agent(second, lane="planner", kinds=("plan", "answer")))
        await eventually(lambda: len(second.came) == slots, "the next worker has work at once")


# tenants come and go


async def test_consumers_of_an_idle_tenant_go_and_come_again(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seconds in (("IDLE", 0.5), ("REST", 0.5), ("CHECK", 0.1)):
        monkeypatch.setattr(f"galerne.runtime.tenants.{name}", seconds)
    monkeypatch.setattr("galerne.runtime.lanes.LOOK", 0.1)
    async with fleet_on(settings) as fleet:
        await fleet.coordinator()
        await fleet.planner(planning(*PLAN))
        await fleet.worker(echoing)
        for job in ("one", "two"):
            await submit(fleet, "acme", job)
            assert (await fleet.end(job, "acme")).result == RESULT

            async def gone() -> bool:
                return not any("acme" in name for name in await consumers(fleet))

            await until(gone, "its consumers are removed")
            await submit(fleet, "default", f"{job}-of-another")
            assert (await fleet.end(f"{job}-of-another")).result == RESULT


async def test_no_more_tenants_than_the_limit_are_served_at_a_time(settings: Settings) -> None:
    async with fleet_on(with_tenants(settings, most=2)) as fleet:
        await fleet.coordinator()
        await submit(fleet, "a", "job")
        await submit(fleet, "b", "job")
        for name in ("a", "b"):
            await until(has_begun(fleet, name, 1), "it has begun")
        await submit(fleet, "c", "job")
        await submit(fleet, "a", "again")
        await until(has_begun(fleet, "a", 2), "known tenants go on")
        assert "admit-c" not in await consumers(fleet)
        assert await fleet.pending("SUBMIT", "admit-a") == 2


async def test_consumers_that_are_lost_are_made_again(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        await fleet.coordinator()
        await submit(fleet, "acme", "job")
        await until(has_begun(fleet, "acme", 1), "it has begun")
        stream = fleet.bus.subjects.stream("TASKS")
        for lane in ("planner", "executor"):
            await fleet.bus.api(f"CONSUMER.DELETE.{stream}.{lane}-normal-acme")
        await fleet.planner(planning(*PLAN))
        await fleet.worker(echoing)
        assert (await fleet.end("job", "acme")).result == RESULT


async def test_garbage_makes_no_tenants(server: NatsServer, settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        await fleet.coordinator()
        before = await consumers(fleet)
        names = [b"t%d" % n for n in range(50)] + [b"a$b", b"*", b"\xff\xfe", b"x" * 65, b">"]
        bad = b'{"type":"submit","job":"told","goal":1}'
        await raw(server.port, *(pub(b"galerne.submit." + name, b"{") for name in names))
        await fleet.submit_bytes(bad, "new")

        async def all_kept() -> bool:
            return len(await fleet.quarantined()) == len(names) + 1

        await until(all_kept, "each is kept")
        assert "goal must be text" in ((await fleet.end("told", "new")).error or "")
        assert await consumers(fleet) == before

        async def empty() -> bool:
            return not await tenants.with_requests(fleet.bus)

        await until(empty, "the queue is empty")


# an older deployment


async def test_the_consumers_of_version_0_1_are_replaced(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        submits, lanes = (fleet.bus.subjects.stream(name) for name in ("SUBMIT", "TASKS"))
        old = {
            (submits, "admit", "admit-default"): "galerne.submit.*",
            (lanes, "executor-normal", "executor-normal-default"): "galerne.task.executor.normal.>",
        }
        for (stream, name, new), subject in old.items():
            await fleet.bus.api(f"CONSUMER.DELETE.{stream}.{new}")
            config = {"durable_name": name, "ack_policy": "explicit", "filter_subject": subject}
            body = {"stream_name": stream, "config": config}
            await fleet.bus.api(f"CONSUMER.CREATE.{stream}.{name}", body)
        await fleet.put("held", ready("1"))
        await fleet.submit("job")

        def hold(_: Delivery) -> None:
            return

        async with pulling(fleet.bus, "TASKS", "executor-normal", hold):
            await until(lambda: _held(fleet, lanes, "executor-normal"), "an old worker has it")
        await provision(fleet.bus, settings)
        assert not {"admit", "executor-normal"} & await consumers(fleet)
        await fleet.coordinator()
        await fleet.planner(planning(*PLAN))
        await fleet.worker(echoing)
        assert (await fleet.end("job")).result == RESULT
        assert (await fleet.done("held", "1")).outcome == Succeeded("reply to do 1")


async def _held(fleet: Fleet, stream: str, consumer: str) -> bool:
    info = await fleet.bus.api(f"CONSUMER.INFO.{stream}.{consumer}")
    return int(info["num_ack_pending"]) > 0


# what kills coordinators


async def refuse_often(fleet: Fleet, stream: str, consumer: str, times: int) -> None:
    """Deliver a message again and again, as to coordinators that die of it."""
    seen = 0

    def give_back(delivery: Delivery) -> None:
        nonlocal seen
        seen = max(seen, delivery.delivered)
        delivery.retry()

    async with pulling(fleet.bus, stream, consumer, give_back, window=1):
        await eventually(lambda: seen >= times, "it has come often")


async def test_a_submission_that_kills_is_put_aside(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        await fleet.submit("deadly")
        await refuse_often(fleet, "SUBMIT", "admit-default", 11)
        await fleet.coordinator()
        await fleet.submit("good")
        await until(lambda: fleet.find("good", "submitted"), "another one is admitted")
        ended = await fleet.end("deadly")
        assert ended.status == "failed"
        assert "never acknowledged" in (ended.error or "")
        (kept,) = await until(fleet.quarantined, "it is kept")
        assert kept.data == encode(Submit(goal="the goal", job="deadly"))
        assert await fleet.find("deadly", "submitted") is None


async def test_the_request_of_a_job_in_progress_may_come_often(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("galerne.runtime.admission.AGAIN", 0.01)
    async with fleet_on(settings) as fleet:
        await fleet.coordinator()
        await fleet.submit("job")
        stream = fleet.bus.subjects.stream("SUBMIT")

        async def often() -> bool:
            info = await fleet.bus.api(f"CONSUMER.INFO.{stream}.admit-default")
            return int(info["delivered"]["consumer_seq"]) > 30

        await until(often, "it has come often")
        await fleet.planner(planning(*PLAN))
        await fleet.worker(echoing)
        assert (await fleet.end("job")).result == RESULT
        await fleet.emptied("SUBMIT", "admit-default")
        assert await fleet.quarantined() == []


async def test_a_command_that_kills_is_put_aside(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        await fleet.bus.publish(
            fleet.bus.subjects.command("default"), encode(Cancel(job=JobId("job")))
        )
        await refuse_often(fleet, "SUBMIT", "commands", 11)
        await fleet.submit("job")
        await fleet.coordinator()
        (kept,) = await until(fleet.quarantined, "it is kept")
        assert "delivered" in kept.error
        await fleet.emptied("SUBMIT", "commands")


async def test_a_fact_that_kills_is_put_aside(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        await fleet.submit("job")
        member = await fleet.coordinator()
        await until(lambda: fleet.find("job", "ready.planner.normal.plan-1"), "it is begun")
        await member.leave()
        part = f"part-{fleet.address('job').part}"
        await fleet.emptied("EVENTS", part)
        await fleet.planner(planning(*PLAN))
        await until(lambda: fleet.find("job", "done.plan-1"), "its plan is done")
        await refuse_often(fleet, "EVENTS", part, 11)
        await fleet.coordinator()
        kept = await until(fleet.quarantined, "it is kept")
        assert "never acknowledged" in kept[0].error
        await fleet.worker(echoing)
        ended = await fleet.end("job")
        assert isinstance(ended, Ended)
        assert ended.result == RESULT
        await fleet.emptied("EVENTS", part)
