"""The worker: claims, retries, fencing, takeover and draining, against a real log."""

# What a crash leaves behind shows only inside.
# pyright: reportPrivateUsage=false

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import anyio
import msgspec
import pytest

from galerne.agent import TaskContext
from galerne.bus.log import FactLog, Record
from galerne.bus.server import NatsServer
from galerne.bus.topology import provision, provision_tenant
from galerne.errors import (
    NotFoundError,
    PermanentError,
    RateLimitedError,
    ToolError,
    TransientError,
)
from galerne.messages.chat import ChatReply, ChatRequest, TokenUsage
from galerne.messages.facts import AnyFact, Cancelled, Claimed, Done, Ended, ModelStep, Planned
from galerne.messages.ids import TaskId, TenantId
from galerne.messages.plan import Failed, Succeeded, TaskSpec, Usage
from galerne.messages.subjects import JobAddress
from galerne.settings import Settings, WorkerSettings
from integration.fleet import (
    Fleet,
    ScriptedModel,
    agent,
    asking,
    echoing,
    eventually,
    fleet_on,
    pub,
    raw,
    ready,
    until,
)

pytestmark = pytest.mark.anyio


def with_worker(settings: Settings, **changes: Any) -> Settings:
    worker: WorkerSettings = msgspec.structs.replace(settings.worker, **changes)
    return msgspec.structs.replace(settings, worker=worker)


class Gate:
    """Tasks that come here wait until it is opened."""

    def __init__(self) -> None:
        self.came: list[str] = []
        self.opened = anyio.Event()

    async def pass_through(self, name: str) -> None:
        self.came.append(name)
        await self.opened.wait()


async def steps_of(fleet: Fleet, job: str) -> list[ModelStep]:
    return [r.fact for r in await fleet.facts_of(job) if isinstance(r.fact, ModelStep)]


# how a task ends


async def test_success_is_committed_then_acknowledged(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        model = ScriptedModel()
        worker = await fleet.worker(echoing, model)
        await fleet.put("job", ready("1"))
        done = await fleet.done("job", "1")
        assert done.outcome == Succeeded("reply to do 1")
        assert done.by == worker.name
        assert done.attempt == 1
        assert done.usage.model_calls == 1
        await fleet.emptied("TASKS", "executor-normal-default")
        names = [record.name for record in await fleet.facts_of("job")]
        assert names == ["ready.executor.normal.1", "run.1", "step.1.1", "done.1"]
        assert model.keys == ["job.1.1"]


async def test_a_permanent_failure_ends_the_task(settings: Settings) -> None:
    async def refuse(_: TaskContext) -> Any:
        raise ToolError("it cannot be done")

    async with fleet_on(settings) as fleet:
        await fleet.worker(refuse)
        await fleet.put("job", ready("1"))
        assert (await fleet.done("job", "1")).outcome == Failed("tool", "it cannot be done")
        await fleet.emptied("TASKS", "executor-normal-default")


async def test_a_bug_of_an_agent_ends_the_task(settings: Settings) -> None:
    async def stumble(_: TaskContext) -> Any:
        raise ValueError("a bug\nin two lines")

    async def stumble_apart(_: TaskContext) -> Any:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stumble, _)

    async with fleet_on(settings) as fleet:
        await fleet.worker(stumble)
        await fleet.put("job", ready("1"))
        outcome = (await fleet.done("job", "1")).outcome
        assert isinstance(outcome, Failed)
        assert outcome.code == "bug"
        assert "ValueError" in outcome.message
    async with fleet_on(settings) as fleet:
        await fleet.worker(stumble_apart)
        await fleet.put("job2", ready("1"))
        outcome = (await fleet.done("job2", "1")).outcome
        assert isinstance(outcome, Failed)
        assert outcome.code == "bug"


async def test_a_value_that_is_no_json_is_a_bug(settings: Settings) -> None:
    async def give_object(_: TaskContext) -> Any:
        return object()

    async with fleet_on(settings) as fleet:
        await fleet.worker(give_object)
        await fleet.put("job", ready("1"))
        outcome = (await fleet.done("job", "1")).outcome
        assert isinstance(outcome, Failed)
        assert outcome.code == "invalid_input"
        assert [claim.attempt for claim in await fleet.claims("job", "1")] == [1]


async def test_a_result_that_does_not_fit_fails_the_task(settings: Settings) -> None:
    async def give_much(_: TaskContext) -> Any:
        return "x" * 800_000

    bus = msgspec.structs.replace(settings.bus, max_blob=300_000)
    settings = msgspec.structs.replace(settings, bus=bus)
    async with fleet_on(settings) as fleet:
        await fleet.worker(give_much)
        await fleet.put("job", ready("1"))
        outcome = (await fleet.done("job", "1")).outcome
        assert isinstance(outcome, Failed)
        assert outcome.code == "too_large"
        await fleet.emptied("TASKS", "executor-normal-default")


async def test_an_answer_that_does_not_fit_fails_the_task_and_leaves_no_spool(
    settings: Settings,
) -> None:
    async def huge(_: ChatRequest) -> str:
        return "x" * 800_000

    async with fleet_on(settings) as fleet:
        worker = await fleet.worker(echoing, ScriptedModel(huge))
        await fleet.put("job", ready("1"))
        outcome = (await fleet.done("job", "1")).outcome
        assert isinstance(outcome, Failed)
        assert outcome.code == "too_large"
        assert worker.spool is not None
        assert not worker.spool._open


async def test_transient_failures_are_tried_again_then_fail(settings: Settings) -> None:
    async def fail(context: TaskContext) -> Any:
        raise TransientError(f"not at attempt {context.attempt}")

    async with fleet_on(settings) as fleet:
        await fleet.worker(fail)
        await fleet.put("job", ready("1", max_attempts=3))
        done = await fleet.done("job", "1")
        assert done.attempt == 3
        assert done.outcome == Failed("transient", "not at attempt 3 (after 3 attempts)")
        claims = await fleet.claims("job", "1")
        assert [(c.attempt, c.note) for c in claims if c.until == 0] == [
            (1, "not at attempt 1"),
            (2, "not at attempt 2"),
        ]


async def test_a_transient_failure_then_success(settings: Settings) -> None:
    async def second_time(context: TaskContext) -> Any:
        if context.attempt == 1:
            raise TransientError("not yet")
        return context.attempt

    async with fleet_on(settings) as fleet:
        await fleet.worker(second_time)
        await fleet.put("job", ready("1"))
        assert (await fleet.done("job", "1")).outcome == Succeeded(2)


async def test_the_pause_that_a_back_end_asks_for_is_kept(settings: Settings) -> None:
    async def limited(context: TaskContext) -> Any:
        if context.attempt == 1:
            raise RateLimitedError("slower", retry_after=1.5)
        return "done"

    async with fleet_on(settings) as fleet:
        await fleet.worker(limited)
        await fleet.put("job", ready("1"))
        assert (await fleet.done("job", "1")).attempt == 2
        records = await fleet.facts.read(fleet.bus.subjects.job(fleet.address("job"), "run.1"))
        given_back = next(r for r in records if isinstance(r.fact, Claimed) and r.fact.until == 0)
        taken = next(r for r in records if isinstance(r.fact, Claimed) and r.fact.attempt == 2)
        assert taken.at - given_back.at > 1.4


async def test_a_task_claimed_too_often_is_given_up_with_the_last_note(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        claim = Claimed(task=TaskId("1"), by="ghost", until=0.0, attempt=3, note="it kills us")
        await fleet.facts.append(fleet.address("job"), claim, 0)
        model = ScriptedModel()
        await fleet.worker(echoing, model)
        await fleet.put("job", ready("1", max_attempts=3))
        outcome = (await fleet.done("job", "1")).outcome
        assert outcome == Failed("attempts", "given up after 3 attempts: it kills us")
        assert not model.keys
        await fleet.emptied("TASKS", "executor-normal-default")


# ends of jobs


async def test_a_cancelled_job_stops_its_agents(settings: Settings) -> None:
    async def wait(context: TaskContext) -> Any:
        began.append(context.ready.task.id)
        try:
            await anyio.sleep_forever()
        finally:
            stopped.append(context.ready.task.id)

    began: list[str] = []
    stopped: list[str] = []
    async with fleet_on(settings) as fleet:
        await fleet.worker(wait)
        await fleet.put("job", ready("1"))
        await fleet.put("other", ready("1"))
        await eventually(lambda: len(began) == 2, "both run")
        await fleet.put("job", Cancelled(why="no longer wanted", at=1.0))
        await eventually(lambda: stopped == ["1"], "the agent is stopped")

        async def one_left() -> bool:
            return await fleet.pending("TASKS", "executor-normal-default") == 1

        await until(one_left, "the message is acknowledged")
        assert await fleet.find("job", "done.1") is None
        assert [c.until > 0 for c in await fleet.claims("job", "1")]
        assert stopped == ["1"]  # the other job's agent goes on


async def test_a_task_of_a_job_that_is_over_is_only_acknowledged(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        await fleet.put("job", Ended(status="cancelled", usage=Usage(), at=1.0))
        claim = Claimed(task=TaskId("1"), by="ghost", until=0.0, attempt=1)
        await fleet.facts.append(fleet.address("job"), claim, 0)
        await fleet.put("job", ready("1"))
        model = ScriptedModel()
        await fleet.worker(echoing, model)
        await fleet.emptied("TASKS", "executor-normal-default")
        assert not model.keys
        assert await fleet.find("job", "done.1") is None


async def test_a_forged_end_on_a_live_subject_stops_nothing(
    server: NatsServer, settings: Settings
) -> None:
    gate = Gate()

    async def wait(context: TaskContext) -> Any:
        await gate.pass_through(context.ready.task.id)
        return "finished"

    async with fleet_on(settings) as fleet:
        await fleet.worker(wait)
        await fleet.put("job", ready("1"))
        await eventually(lambda: bool(gate.came), "it runs")
        for name in (b"cancel", b"end"):
            subject = b"galerne.live.default.job." + name
            await raw(server.port, pub(subject, b"{}"), pub(subject, b"\xff"))
        await raw(server.port, pub(b"galerne.live.\xff.\xfe.end", b""))
        await fleet.put("other", Cancelled(why="real", at=1.0))
        gate.opened.set()
        assert (await fleet.done("job", "1")).outcome == Succeeded("finished")


async def test_two_tenants_may_use_the_same_job_id(settings: Settings) -> None:
    gate = Gate()

    async def wait(context: TaskContext) -> Any:
        await gate.pass_through(context.tenant)
        return context.tenant

    async with fleet_on(settings) as fleet:
        for tenant in ("ann", "bob"):
            await provision_tenant(fleet.bus, settings, TenantId(tenant))
        await fleet.worker(wait)
        await fleet.put("job", ready("1"), tenant="ann")
        await eventually(lambda: gate.came == ["ann"], "the first runs")
        await fleet.put("job", ready("1"), tenant="bob")
        await eventually(lambda: gate.came == ["ann", "bob"], "the second runs beside it")
        await fleet.put("job", Cancelled(why="ann's", at=1.0), tenant="ann")

        await fleet.emptied("TASKS", "executor-normal-ann")
        assert await fleet.pending("TASKS", "executor-normal-bob") == 1
        gate.opened.set()
        assert (await fleet.done("job", "1", tenant="bob")).outcome == Succeeded("bob")
        assert await fleet.find("job", "done.1", tenant="ann") is None


# leases


async def test_a_lease_is_renewed_for_as_long_as_it_takes(settings: Settings) -> None:
    gate = Gate()

    async def wait(context: TaskContext) -> Any:
        await gate.pass_through(context.ready.task.id)
        return context.attempt

    async with fleet_on(settings) as fleet:
        await fleet.worker(wait)
        await fleet.worker(wait)
        await fleet.put("job", ready("1"))
        first = (await until(lambda: fleet.claims("job", "1"), "it is claimed"))[0].until

        async def renewed() -> bool:
            return (await fleet.claims("job", "1"))[-1].until > first + settings.worker.lease

        await until(renewed, "it is held beyond its first lease")
        gate.opened.set()
        assert (await fleet.done("job", "1")).outcome == Succeeded(1)
        assert gate.came == ["1"]


async def test_a_lost_renewal_acknowledgement_does_not_fence_its_owner(settings: Settings) -> None:
    gate = Gate()

    async def wait(context: TaskContext) -> Any:
        await gate.pass_through(context.ready.task.id)
        await context.ask(asking("again"))
        return context.attempt

    async with fleet_on(settings) as fleet:
        worker = await fleet.worker(wait)
        await fleet.put("job", ready("1"))
        await eventually(lambda: bool(gate.came), "it runs")
        publish, lost = worker.bus.publish, 0

        async def lossy(subject: str, data: bytes, **options: Any) -> int:
            nonlocal lost
            sequence = await publish(subject, data, **options)
            if ".run." in subject and lost < 2:
                lost += 1
                raise TransientError("the acknowledgement was lost")
            return sequence

        worker.bus.publish = lossy  # type: ignore[method-assign]
        await eventually(lambda: lost == 2, "two renewals' acknowledgements are lost")

        async def renewed() -> bool:
            return len(await fleet.claims("job", "1")) >= 4

        await until(renewed, "it goes on renewing")
        gate.opened.set()
        assert (await fleet.done("job", "1")).outcome == Succeeded(1)


async def test_a_lease_that_is_taken_over_fences(settings: Settings) -> None:
    """As after a stop of the whole process: the lease runs out unnoticed, another claims."""
    gate = Gate()

    async def wait(context: TaskContext) -> Any:
        await gate.pass_through(context.ready.task.id)
        await context.ask(asking("more"))
        return "late"

    model = ScriptedModel()
    stalled = with_worker(settings, heartbeat=60.0, lease=0.5, clock_margin=0.1)
    async with fleet_on(settings) as fleet:
        worker = await fleet.worker(wait, model, settings=stalled)
        await fleet.put("job", ready("1"))
        claims = await until(lambda: fleet.claims("job", "1"), "it is claimed")
        await eventually(lambda: bool(gate.came), "it runs")
        await eventually(lambda: time.time() > claims[-1].until + 0.1, "its lease is over")
        record = await fleet.facts.last(fleet.address("job"), "run.1")
        assert record is not None
        other = Claimed(task=TaskId("1"), by="other", until=time.time() + 60, attempt=2)
        await fleet.facts.append(fleet.address("job"), other, record.sequence)
        gate.opened.set()
        await eventually(lambda: not _in_flight(worker), "it gives up")
        assert not model.keys
        names = [record.name for record in await fleet.facts_of("job")]
        assert names == ["ready.executor.normal.1", "run.1", "run.1"]


def _in_flight(member: Any) -> Any:
    return member.worker._in_flight


async def test_a_fenced_agent_is_stopped_at_the_next_heartbeat(settings: Settings) -> None:
    stopped = anyio.Event()

    async def wait(_: TaskContext) -> Any:
        try:
            await anyio.sleep_forever()
        finally:
            stopped.set()

    async with fleet_on(settings) as fleet:
        await fleet.worker(wait)
        await fleet.put("job", ready("1"))
        await until(lambda: fleet.claims("job", "1"), "it is claimed")
        while True:  # renewals may come between reading and writing
            record = await fleet.facts.last(fleet.address("job"), "run.1")
            assert record is not None
            other = Claimed(task=TaskId("1"), by="other", until=time.time() + 60, attempt=2)
            try:
                await fleet.facts.append(fleet.address("job"), other, record.sequence)
                break
            except PermanentError:
                continue
        with anyio.fail_after(10):
            await stopped.wait()
        assert await fleet.find("job", "done.1") is None
        assert (await fleet.claims("job", "1"))[-1].by == "other"


async def test_a_lease_shorter_than_the_margin_still_works(settings: Settings) -> None:
    hasty = with_worker(settings, lease=0.3, clock_margin=5.0, heartbeat=0.1)
    async with fleet_on(settings) as fleet:
        await fleet.worker(echoing, settings=hasty)
        await fleet.put("job", ready("1"))
        with anyio.fail_after(10):
            await fleet.done("job", "1")
        assert len(await fleet.claims("job", "1")) < 10


async def test_a_redelivery_waits_for_a_live_lease(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        claim = Claimed(task=TaskId("1"), by="ghost", until=time.time() + 1.0, attempt=1)
        await fleet.facts.append(fleet.address("job"), claim, 0)
        await fleet.worker(echoing)
        await fleet.put("job", ready("1"))
        done = await fleet.done("job", "1")
        assert done.attempt == 2
        records = await fleet.facts.read(fleet.bus.subjects.job(fleet.address("job"), "run.1"))
        assert records[1].at >= claim.until


async def test_unreadable_claims_hold_nothing(server: NatsServer, settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        subject = fleet.bus.subjects.job(fleet.address("job"), "run.1").encode()
        await raw(server.port, pub(subject, b"\xff\xff"), pub(subject, b"[]"))
        await until(lambda: fleet.facts.last(fleet.address("job"), "run.1"), "it is there")
        await fleet.worker(echoing)
        await fleet.put("job", ready("1"))
        assert (await fleet.done("job", "1")).outcome == Succeeded("reply to do 1")


# takeover


async def two_questions(context: TaskContext) -> Any:
    first = await context.ask(asking("first"))
    second = await context.ask(asking(first.message.content))
    return second.message.content


async def test_a_takeover_replays_what_was_paid(settings: Settings) -> None:
    """The first worker dies between its second step's commit and the task's outcome."""
    stuck = anyio.Event()

    async def dies(context: TaskContext) -> Any:
        await two_questions(context)
        stuck.set()
        await anyio.sleep_forever()

    dead, heir = ScriptedModel(), ScriptedModel()
    async with fleet_on(settings) as fleet:
        first = await fleet.worker(dies, dead)
        await fleet.put("job", ready("1"))
        with anyio.fail_after(20):
            await stuck.wait()
        await first.kill()
        second = await fleet.worker(two_questions, heir)
        done = await fleet.done("job", "1")
        assert done.outcome == Succeeded("reply to reply to first")
        assert (done.by, done.attempt) == (second.name, 2)
        assert dead.keys == ["job.1.1", "job.1.2"]
        assert heir.keys == []
        assert done.usage.model_calls == 2


async def test_what_an_answer_is_complained_of_comes_back_with_it(settings: Settings) -> None:
    class Complaining(ScriptedModel):
        async def ask(
            self,
            request: ChatRequest,
            *,
            on_text: Callable[[str], None] | None = None,
            key: str | None = None,
        ) -> ChatReply:
            reply = await super().ask(request, on_text=on_text, key=key)
            return msgspec.structs.replace(reply, complaint="it was cut")

    async def fails_once(context: TaskContext) -> Any:
        reply = await context.ask(asking("go on"))
        if context.attempt == 1:
            raise TransientError("not yet")
        return reply.complaint

    model = Complaining()
    async with fleet_on(settings) as fleet:
        await fleet.worker(fails_once, model)
        await fleet.put("job", ready("1"))
        done = await fleet.done("job", "1")
    assert done.outcome == Succeeded("it was cut")
    assert model.keys == ["job.1.1"]


async def test_a_worker_that_dies_before_it_commits_leaves_the_task_to_others(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its message was not acknowledged."""
    write = FactLog.write
    dying = anyio.Event()

    async def dies(self: FactLog, address: JobAddress, fact: AnyFact) -> Record | None:
        if isinstance(fact, Done) and fact.by == first.name:
            dying.set()
            await anyio.sleep_forever()
        return await write(self, address, fact)

    monkeypatch.setattr(FactLog, "write", dies)
    async with fleet_on(settings) as fleet:
        first = await fleet.worker(echoing)
        await fleet.put("job", ready("1"))
        with anyio.fail_after(20):
            await dying.wait()
        await fleet.bus.flush()
        await first.kill()
        second = await fleet.worker(echoing)
        done = await fleet.done("job", "1")
        assert (done.outcome, done.by) == (Succeeded("reply to do 1"), second.name)


async def test_a_takeover_asks_only_for_the_missing_step(settings: Settings) -> None:
    asked = 0

    async def stops_at_second(request: ChatRequest) -> str:
        nonlocal asked
        asked += 1
        if asked == 2:
            await anyio.sleep_forever()
        return "one"

    heir = ScriptedModel()
    async with fleet_on(settings) as fleet:
        first = await fleet.worker(two_questions, ScriptedModel(stops_at_second))
        await fleet.put("job", ready("1"))
        await eventually(lambda: asked == 2, "it waits for its second answer")
        await first.kill()
        await fleet.worker(two_questions, heir)
        done = await fleet.done("job", "1")
        assert done.outcome == Succeeded("reply to one")
        assert heir.keys == ["job.1.2"]


async def test_a_worker_that_is_stopped_hands_its_paid_step_on(settings: Settings) -> None:
    """Cancelled while the step is on its way to the log: the step arrives all the same."""
    impatient = with_worker(settings, drain=0.05)
    publishing = anyio.Event()
    async with fleet_on(settings) as fleet:
        first = await fleet.worker(echoing, settings=impatient)
        publish = first.bus.publish

        async def slow(subject: str, data: bytes, **options: Any) -> int:
            if ".step." in subject:
                publishing.set()
                await anyio.sleep(0.5)
            return await publish(subject, data, **options)

        first.bus.publish = slow  # type: ignore[method-assign]
        await fleet.put("job", ready("1"))
        with anyio.fail_after(20):
            await publishing.wait()
        await first.leave()
        assert len(await steps_of(fleet, "job")) == 1
        heir = ScriptedModel()
        await fleet.worker(echoing, heir)
        assert (await fleet.done("job", "1")).outcome == Succeeded("reply to do 1")
        assert heir.keys == []


async def test_a_step_that_stands_already_is_gone_on_with(settings: Settings) -> None:
    """An earlier attempt's answer arrives late: the log is right, not our memory."""
    late = anyio.Event()

    async def answer(_: ChatRequest) -> str:
        late.set()
        await anyio.sleep(0.3)
        return "mine"

    async with fleet_on(settings) as fleet:
        await fleet.worker(echoing, ScriptedModel(answer))
        await fleet.put("job", ready("1"))
        with anyio.fail_after(20):
            await late.wait()
        step = ModelStep(
            task=TaskId("1"),
            n=1,
            message=asking("theirs").messages[0],
            model="m",
            finish="stop",
            usage=TokenUsage(),
        )
        await fleet.put("job", step)
        assert (await fleet.done("job", "1")).outcome == Succeeded("theirs")


async def test_unreadable_bytes_in_a_steps_place_cost_no_result(
    server: NatsServer, settings: Settings
) -> None:
    async with fleet_on(settings) as fleet:
        subject = fleet.bus.subjects.job(fleet.address("job"), "step.1.1").encode()
        await raw(server.port, pub(subject, b"\xff\xff"))
        await until(lambda: fleet.facts.last(fleet.address("job"), "step.1.1"), "it is there")
        await fleet.worker(echoing)
        await fleet.put("job", ready("1"))
        assert (await fleet.done("job", "1")).outcome == Succeeded("reply to do 1")


async def test_a_planners_facts_are_there_before_its_outcome(settings: Settings) -> None:
    async def plan(context: TaskContext) -> Any:
        for n in range(1, 41):
            spec = TaskSpec(id=TaskId(str(n)), instruction="x")
            context.write(Planned(revision=1, n=n, task=spec))
        return 40

    async with fleet_on(settings) as fleet:
        await fleet.worker({"plan": agent(plan, lane="planner", kinds=("plan",))}, lane="planner")
        await fleet.put("job", ready("plan-1", lane="planner", kind="plan"))
        await fleet.done("job", "plan-1")
        names = [record.name for record in await fleet.facts_of("job")]
        assert names[-1] == "done.plan-1"
        assert sum(name.startswith("plan.1.") for name in names) == 40


async def test_a_write_that_cannot_be_stored_fails_the_task(settings: Settings) -> None:
    async def plan(context: TaskContext) -> Any:
        spec = TaskSpec(id=TaskId("1"), instruction="x" * 800_000)
        context.write(Planned(revision=1, n=1, task=spec))
        return 1

    async with fleet_on(settings) as fleet:
        await fleet.worker({"plan": agent(plan, lane="planner", kinds=("plan",))}, lane="planner")
        await fleet.put("job", ready("plan-1", lane="planner", kind="plan"))
        outcome = (await fleet.done("job", "plan-1")).outcome
        assert isinstance(outcome, Failed)
        assert outcome.code == "too_large"


# draining


async def test_what_runs_is_finished_when_its_worker_is_stopped(settings: Settings) -> None:
    gate = Gate()

    async def wait(context: TaskContext) -> Any:
        await gate.pass_through(context.ready.task.id)
        return "finished"

    async with fleet_on(settings) as fleet:
        worker = await fleet.worker(wait)
        await fleet.put("job", ready("1"))
        await eventually(lambda: bool(gate.came), "it runs")
        worker.stop.set()
        await fleet.put("job", ready("2"))
        gate.opened.set()
        with anyio.fail_after(20):
            await worker.ended.wait()
        done = await fleet.done("job", "1")
        assert done.outcome == Succeeded("finished")
        assert gate.came == ["1"]


async def test_what_takes_too_long_is_handed_back_at_once(settings: Settings) -> None:
    async def wait(context: TaskContext) -> Any:
        if context.attempt == 1:
            came.append(1)
            await anyio.sleep_forever()
        return context.attempt

    came: list[int] = []
    patient = with_worker(settings, lease=120.0, heartbeat=1.0, drain=0.1)
    async with fleet_on(patient) as fleet:
        first = await fleet.worker(wait)
        await fleet.put("job", ready("1"))
        await eventually(lambda: bool(came), "it runs")
        second = await fleet.worker(wait)
        await first.leave()
        done = await fleet.done("job", "1")  # far sooner than the lease of two minutes
        assert (done.by, done.attempt) == (second.name, 2)
        notes = [claim.note for claim in await fleet.claims("job", "1") if claim.until == 0]
        assert notes == ["its worker was stopped"]


async def test_what_waits_for_a_place_is_handed_back_at_once(settings: Settings) -> None:
    gate = Gate()

    async def wait(context: TaskContext) -> Any:
        await gate.pass_through(context.ready.task.id)
        return "finished"

    patient = with_worker(settings, lease=120.0, heartbeat=1.0, drain=60.0, concurrency=1)
    async with fleet_on(patient) as fleet:
        first = await fleet.worker(wait)
        await fleet.put("job", ready("1"))
        await eventually(lambda: gate.came == ["1"], "it runs")
        for name, priority in (("2", "high"), ("3", "low")):
            await fleet.put("job", ready(name, priority=priority))
        await eventually(lambda: len(_in_flight(first)) == 3, "two more wait there")
        second = await fleet.worker(echoing)
        first.stop.set()
        for name in ("2", "3"):
            assert (await fleet.done("job", name)).by == second.name
        assert not first.ended.is_set()
        gate.opened.set()
        assert (await fleet.done("job", "1")).by == first.name


# what comes from the queue


async def test_high_priority_goes_before_what_waits(settings: Settings) -> None:
    gate = Gate()
    order: list[str] = []

    async def note(context: TaskContext) -> Any:
        order.append(context.ready.task.id)
        if context.ready.task.id == "first":
            await gate.pass_through("first")
        return None

    single = with_worker(settings, concurrency=1)
    async with fleet_on(single) as fleet:
        worker = await fleet.worker(note)
        await fleet.put("job", ready("first"))
        await eventually(lambda: bool(gate.came), "the only place is taken")
        for name, priority in (("low", "low"), ("high", "high")):
            count = len(_in_flight(worker)) + 1
            await fleet.put("job", ready(name, priority=priority))
            await eventually(lambda n=count: len(_in_flight(worker)) >= n, "it waits there")  # type: ignore[misc]
        gate.opened.set()
        await fleet.done("job", "low")
        assert order == ["first", "high", "low"]


async def test_more_tasks_than_places_all_run_and_never_too_many(settings: Settings) -> None:
    running, most = 0, 0

    async def count(context: TaskContext) -> Any:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await anyio.sleep(0.005)
        running -= 1
        return context.ready.task.id

    async with fleet_on(settings) as fleet:
        await fleet.worker(count)
        async with anyio.create_task_group() as tasks:
            for n in range(60):
                priority = ("high", "normal", "low")[n % 3]
                tasks.start_soon(fleet.put, "job", ready(f"t{n}", priority=priority))
        for n in range(60):
            await fleet.done("job", f"t{n}")
        assert most == settings.worker.concurrency
        claims = Counter(r.name for r in await fleet.facts_of("job") if r.name.startswith("run."))
        assert set(claims.values()) == {1}


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xfe", b"[]", b'{"type":"ready"}', b'{"type":"cancelled","why":"x","at":1}']
)
async def test_a_task_that_cannot_be_read_is_kept_and_fails(
    server: NatsServer, settings: Settings, data: bytes
) -> None:
    async with fleet_on(settings) as fleet:
        await fleet.worker(echoing)
        name = "ready.executor.normal.bad"
        subject = fleet.bus.subjects.job(fleet.address("job"), name)
        await raw(server.port, pub(subject.encode(), data))
        await fleet.put("job", ready("good"))
        outcome = (await fleet.done("job", "bad")).outcome
        assert isinstance(outcome, Failed)
        assert outcome.code == "invalid_message"
        await fleet.done("job", "good")
        (kept,) = await fleet.quarantined()
        assert kept.data == data
        assert kept.subject.endswith("task.executor.normal.default.job.bad")
        await fleet.emptied("TASKS", "executor-normal-default")


async def test_a_kind_that_nobody_does_fails_and_says_so(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        await fleet.worker(echoing)
        await fleet.put("job", ready("1", kind="ask"))
        outcome = (await fleet.done("job", "1")).outcome
        assert isinstance(outcome, Failed)
        assert "'ask'" in outcome.message
        await fleet.emptied("TASKS", "executor-normal-default")


@pytest.mark.parametrize("name", ["a b", "\xe9", "x" * 65])
async def test_a_task_with_an_impossible_name_is_kept(
    server: NatsServer, settings: Settings, name: str
) -> None:
    async with fleet_on(settings) as fleet:
        await fleet.worker(echoing)
        if " " not in name:
            base = fleet.bus.subjects.job(fleet.address("job"), "ready.executor.normal.")
            await raw(server.port, pub(f"{base}{name}".encode("latin-1"), b"{}"))
        await fleet.put("job", ready("good"))
        await fleet.done("job", "good")
        await fleet.emptied("TASKS", "executor-normal-default")
        if " " not in name:
            assert len(await fleet.quarantined()) == 1


async def test_the_largest_task_still_reaches_its_lane(settings: Settings) -> None:
    """The server adds a header when it sources a fact into the lanes."""
    async with fleet_on(settings) as fleet:
        await fleet.worker(echoing)
        address = fleet.address("job")
        task = ready("1")
        spare = fleet.bus.largest - len(msgspec.json.encode(task)) - 100
        while True:
            big = msgspec.structs.replace(task, goal=task.goal + "x" * spare)
            try:
                await fleet.facts.write(address, big)
                break
            except PermanentError:
                spare -= 1
        assert (await fleet.done("job", "1")).outcome == Succeeded("reply to do 1")


# the server goes away


async def test_a_worker_adopts_its_own_redelivery(server: NatsServer, settings: Settings) -> None:
    gate = Gate()

    async def wait(context: TaskContext) -> Any:
        await gate.pass_through(context.ready.task.id)
        return context.attempt

    patient = with_worker(settings, lease=30.0, heartbeat=0.2)
    async with fleet_on(patient) as fleet:
        await fleet.worker(wait)
        await fleet.put("job", ready("1"))
        await eventually(lambda: bool(gate.came), "it runs")
        await server.kill()
        await server.start()
        await eventually(lambda: fleet.bus.connected, "we are connected again")
        stream = fleet.bus.subjects.stream("TASKS")

        async def deleted() -> bool:
            try:
                await fleet.bus.api(f"CONSUMER.DELETE.{stream}.executor-normal-default")
            except NotFoundError:
                return True
            return False

        await until(deleted, "the consumer is gone")
        await provision(fleet.bus, patient)  # a new consumer delivers everything again

        async def redelivered() -> bool:
            info = await fleet.bus.api(f"CONSUMER.INFO.{stream}.executor-normal-default")
            return int(info["num_ack_pending"]) == 1

        await until(redelivered, "it is delivered again")
        gate.opened.set()
        assert (await fleet.done("job", "1")).outcome == Succeeded(1)
        assert gate.came == ["1"]
        await fleet.emptied("TASKS", "executor-normal-default")


async def test_tasks_survive_the_server(server: NatsServer, settings: Settings) -> None:
    model = ScriptedModel()

    async def slowly(context: TaskContext) -> Any:
        await anyio.sleep(0.02)
        return await two_questions(context)

    many = with_worker(settings, concurrency=8, max_attempts=10)
    async with fleet_on(many) as fleet:
        await fleet.worker(slowly, model)
        await fleet.worker(slowly, model)
        names = [f"t{n}" for n in range(60)]
        async with anyio.create_task_group() as tasks:
            for name in names:
                tasks.start_soon(fleet.put, "job", ready(name, max_attempts=10))
            await eventually(lambda: len(model.keys) > 10, "some are asked")
            await server.kill()
            await server.start()
        for name in names:
            assert isinstance((await fleet.done("job", name)).outcome, Succeeded)
        paid = Counter(model.keys)
        assert set(paid.values()) == {1}, [key for key, n in paid.items() if n > 1]
