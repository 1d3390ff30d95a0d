"""Coordinators: jobs end, whoever dies and whatever anybody publishes."""

# What another replica would do is done between the coordinator and its consumer.
# pyright: reportPrivateUsage=false

import itertools
from collections import Counter
from typing import Any

import anyio
import msgspec
import pytest

from galerne.agent import TaskContext
from galerne.bus.queue import Delivery
from galerne.bus.server import NatsServer
from galerne.errors import ToolError
from galerne.messages.chat import TokenUsage
from galerne.messages.codec import encode
from galerne.messages.facts import (
    Cancelled,
    Claimed,
    Done,
    Ended,
    JobSpec,
    ModelStep,
    PlanEnded,
    Planned,
    Submitted,
)
from galerne.messages.ids import DEFAULT_TENANT, JobId, TaskId, job_id_of_key
from galerne.messages.plan import ModelUsage, Succeeded, Usage
from galerne.messages.requests import Cancel, Submit
from galerne.messages.tools import CallTool
from galerne.runtime.coordinator import Coordinator
from galerne.settings import Settings
from integration.fleet import (
    Fleet,
    ScriptedModel,
    agent,
    asking,
    echoing,
    fleet_on,
    hpub,
    planning,
    pub,
    raw,
    ready,
    task,
    until,
)

pytestmark = pytest.mark.anyio

PLAN = (task("1"), task("2"), task("3", "1", "2"))


async def whole(fleet: Fleet) -> None:
    """One of each, with scripts."""
    await fleet.coordinator()
    await fleet.planner(planning(*PLAN))
    await fleet.worker(echoing)


RESULT = {"1": "reply to do 1", "2": "reply to do 2", "3": "reply to do 3"}


async def test_a_job_goes_to_its_end(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        await whole(fleet)
        await fleet.submit("job")
        ended = await fleet.end("job")
        assert ended.status == "succeeded"
        assert ended.result == RESULT
        assert ended.usage.model_calls == 3
        names = [record.name for record in await fleet.facts_of("job")]
        assert names[0] == "submitted"
        assert names[-1] == "end"
        assert len(names) == len(set(names))
        for stream, consumer in (("SUBMIT", "admit-default"), ("TASKS", "executor-normal-default")):
            await fleet.emptied(stream, consumer)


async def test_fifty_jobs_go_to_their_ends(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        await whole(fleet)
        async with anyio.create_task_group() as tasks:
            for n in range(50):
                tasks.start_soon(fleet.submit, f"job{n}")
        for n in range(50):
            assert (await fleet.end(f"job{n}")).result == RESULT
        for part in range(settings.bus.partitions):
            await fleet.emptied("EVENTS", f"part-{part}")


async def test_a_failed_task_ends_the_job_with_its_reason(settings: Settings) -> None:
    async def fail(_: TaskContext) -> Any:
        raise ToolError("the file is missing")

    async with fleet_on(settings) as fleet:
        await fleet.coordinator()
        await fleet.planner(planning(*PLAN))
        await fleet.worker(fail)
        await fleet.submit("job")
        ended = await fleet.end("job")
        assert ended.status == "failed"
        assert "the file is missing" in (ended.error or "")


async def test_a_cancelled_job_ends_and_its_queue_is_emptied(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        await fleet.coordinator()
        await fleet.planner(planning(*PLAN))
        await fleet.submit("job")
        await until(lambda: fleet.find("job", "ready.executor.normal.1"), "a task is ready")
        command = encode(Cancel(job="job", why="enough"))
        await fleet.bus.publish(fleet.bus.subjects.command("default"), command)
        ended = await fleet.end("job")
        assert (ended.status, ended.error) == ("cancelled", "enough")
        await fleet.emptied("TASKS", "executor-normal-default")
        await fleet.emptied("SUBMIT", "commands")


async def test_a_command_may_overtake_its_job(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        command = encode(Cancel(job="job"))
        await fleet.bus.publish(fleet.bus.subjects.command("default"), command)
        await fleet.submit("job")
        await fleet.coordinator()
        assert (await fleet.end("job")).status == "cancelled"


# replicas


async def test_jobs_end_although_a_replica_dies(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        first = await fleet.coordinator()
        await whole(fleet)
        jobs = [f"job{n}" for n in range(30)]
        async with anyio.create_task_group() as tasks:
            for job in jobs:
                tasks.start_soon(fleet.submit, job)

        async def some_ended() -> bool:
            return bool(await fleet.facts.read(fleet.bus.subjects.events(rest="end")))

        await until(some_ended, "some have ended")
        await first.kill()
        for job in jobs:
            assert (await fleet.end(job)).result == RESULT


async def test_jobs_end_although_a_replica_leaves(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        first = await fleet.coordinator()
        await whole(fleet)
        jobs = [f"job{n}" for n in range(30)]
        for job in jobs[:15]:
            await fleet.submit(job)
        await first.leave()
        for job in jobs[15:]:
            await fleet.submit(job)
        for job in jobs:
            assert (await fleet.end(job)).result == RESULT


async def test_a_lone_replica_takes_up_what_all_have_left(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        first = await fleet.coordinator()
        await fleet.submit("job")
        await until(lambda: fleet.find("job", "ready.planner.normal.plan-1"), "it is begun")
        await first.kill()
        await fleet.planner(planning(*PLAN))
        await fleet.worker(echoing)
        await fleet.done("job", "plan-1")
        await fleet.submit("other")
        await fleet.coordinator()
        assert (await fleet.end("job")).result == RESULT
        assert (await fleet.end("other")).result == RESULT


async def test_parts_come_back_to_a_replica_that_had_left_them(settings: Settings) -> None:
    """What it remembers from its first time must not be taken for the present."""
    async with fleet_on(settings) as fleet:
        await fleet.coordinator()
        await fleet.planner(planning(*PLAN))
        for n in range(8):
            await fleet.submit(f"job{n}")
            await fleet.done(f"job{n}", "plan-1")
        for _ in range(2):
            other = await fleet.coordinator()
            await anyio.sleep(settings.coordinator.presence * 2)
            await other.kill()
        await fleet.worker(echoing)
        for n in range(8):
            assert (await fleet.end(f"job{n}")).result == RESULT


async def test_jobs_end_across_a_kill_of_the_server(server: NatsServer, settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        await whole(fleet)
        jobs = [f"job{n}" for n in range(30)]
        for job in jobs:
            await fleet.submit(job)

        async def some_ended() -> bool:
            return bool(await fleet.facts.read(fleet.bus.subjects.events(rest="end")))

        await until(some_ended, "some have ended")
        await server.kill()
        await server.start()
        for job in jobs:
            assert (await fleet.end(job)).result == RESULT


# what is submitted


async def test_the_same_id_is_the_same_job(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        await whole(fleet)
        await fleet.submit("job", "first")
        await until(lambda: fleet.find("job", "submitted"), "the first is taken up")
        await fleet.submit("job", "second")
        await fleet.end("job")
        await fleet.submit("job", "third")
        await fleet.emptied("SUBMIT", "admit-default")
        begun = await fleet.find("job", "submitted")
        assert isinstance(begun, Submitted)
        assert begun.job.goal == "first"
        assert len(await fleet.facts.read(fleet.bus.subjects.events(rest="submitted"))) == 1


async def test_the_same_key_is_the_same_job(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        await whole(fleet)
        for goal in ("first", "second"):
            await fleet.submit_bytes(encode(Submit(goal=goal, key="my key")))
        job = job_id_of_key(DEFAULT_TENANT, "my key")
        assert (await fleet.end(job)).status == "succeeded"
        await fleet.emptied("SUBMIT", "admit-default")
        assert len(await fleet.facts.read(fleet.bus.subjects.events(rest="submitted"))) == 1


async def test_two_tenants_may_use_the_same_job_id(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        await whole(fleet)
        for tenant in ("ann", "bob"):
            await fleet.submit_bytes(encode(Submit(goal=tenant, job="job")), tenant)
        for tenant in ("ann", "bob"):
            assert (await fleet.end("job", tenant)).result == RESULT
            begun = await fleet.find("job", "submitted", tenant)
            assert isinstance(begun, Submitted)
            assert begun.job.goal == tenant


async def test_a_goal_of_nothing_ends_with_the_reason(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        await whole(fleet)
        await fleet.submit("empty", "  \n ")
        ended = await fleet.end("empty")
        assert ended.status == "failed"
        assert "goal is empty" in (ended.error or "")


async def test_a_job_too_large_for_its_next_task_ends_with_the_reason(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        await whole(fleet)
        room = fleet.bus.largest - len(encode(Submit(goal="", job="large"))) - 200
        await fleet.submit("large", "x" * room)
        ended = await fleet.end("large")
        assert ended.status == "failed"
        assert "over the limit" in (ended.error or "")


@pytest.mark.parametrize("less", [150, 250, 300, 350, 400, 600])
async def test_a_job_close_to_the_limit_ends(settings: Settings, less: int) -> None:
    async with fleet_on(settings) as fleet:
        await whole(fleet)
        room = fleet.bus.largest - len(encode(Submit(goal="", job="large"))) - less
        await fleet.submit("large", "x" * room)
        await fleet.end("large")


async def test_a_result_too_large_ends_with_the_reason(settings: Settings) -> None:
    async def much(context: TaskContext) -> Any:
        return "x" * 350_000

    bus = msgspec.structs.replace(settings.bus, max_blob=300_000)
    async with fleet_on(msgspec.structs.replace(settings, bus=bus)) as fleet:
        await fleet.coordinator()
        await fleet.planner(planning(*PLAN, task("t", "1", "2", kind="tool", tool="x", args={})))
        await fleet.worker({"agent": agent(much), "tool": agent(much)})
        await fleet.submit("job")
        ended = await fleet.end("job")
        assert ended.status == "failed"
        assert "above the limit" in (ended.error or "")


@pytest.mark.parametrize("depth", [100, 400, 700, 850, 900, 930, 950, 970, 990, 1500])
async def test_deep_inputs_kill_nobody(settings: Settings, depth: int) -> None:
    async with fleet_on(settings) as fleet:
        await whole(fleet)
        deep = b"[" * depth + b"]" * depth
        data = b'{"type":"submit","goal":"g","job":"deep","inputs":{"x":' + deep + b"}}"
        await fleet.submit_bytes(data)
        await fleet.submit("good")
        assert (await fleet.end("good")).result == RESULT
        await fleet.emptied("SUBMIT", "admit-default")
        if not await fleet.quarantined():
            await fleet.end("deep")


# hostile hands

GARBAGE = [
    b"",
    b"\xff\xfe\x00\x01",
    b"null",
    b"[]",
    b"{}",
    b"42",
    b'"text"',
    b'{"type":"no such type"}',
    b'{"type":"submitted"}',
    b'{"type":"done","task":5}',
    b'{"type":"submit","goal":7}',
    b"[" * 50_000,
    b'{"type":"\xed\xa0\x80"}',
    b"x" * 600_000,
]

SUBJECTS = [
    "submit.default",
    "submit.a b".replace(" ", "\u00a0"),
    "command.default",
    "ev.0.default.live.done.1",
    "ev.1.default.live.done.1",
    "ev.0.default.unknown.submitted",
    "ev.1.default.unknown.submitted",
    "ev.9.default.live.end",
    "ev.x.default.live.end",
    "ev.00.default.live.end",
    "ev.0.default.l\u00efve.cancel",
    "ev.0.default.live.plan.1.7",
    "ev.1.default.live.plan.1.7",
    "ev.0.default.live.plan.x.y.z",
    "ev.0.default.live.run.1",
    "ev.1.default.live.run.1",
    "ev.0.default.live.step.1.1",
    "ev.1.default.live.step.1.1",
    "ev.0.default.unknown.ready.executor.normal.1",
    "ev.1.default.unknown.ready.executor.normal.1",
    "ev.0.default.unknown.ready.nobody.never.1",
    "ev.1.default.unknown.ready.planner.high.plan-1",
    "ev.0.default.unknown.end",
    "ev.1.default.unknown.cancel",
    "ev.0.default.unknown.nonsense",
    "task.executor.normal.default.live.1",
    "tj.default.live.1.1.claim",
    "live.default.live.end",
    "live.default.live.cancel",
    "live.x",
    "presence.coordinator",
    "presence.tools",
    "presence_query.coordinator",
    "presence_query.tools",
    "quarantine.x",
    "tool.nothing",
]

# A header shorter than its first line is left out: nats-server 2.15.1 itself panics over it.
HEADERS = [
    b"NATS/1.0\r\n\r\n",
    b"NATS/1.0 503\r\n\r\n",
    b"NATS/1.0 100 Idle Heartbeat\r\n\r\n",
    b"NATS/1.0 \xff\xff\r\n\r\n",
    b"NATS/1.0\r\nNats-Msg-Id: x\r\n\r\n",
    b"NATS/1.0\r\nStatus: 409\r\nDescription: Server Shutdown\r\n\r\n",
    b"NATS/1.0\r\n\xff: \xfe\r\n:\r\n\r\n",
]


async def test_garbage_on_every_subject_kills_nobody(
    server: NatsServer, settings: Settings
) -> None:
    async with fleet_on(settings) as fleet:
        members = [
            await fleet.coordinator(),
            await fleet.coordinator(),
            await fleet.planner(planning(*PLAN)),
            await fleet.worker(echoing),
        ]
        await fleet.submit("before")
        commands = [
            pub(f"galerne.{subject}".encode(), data) for subject in SUBJECTS for data in GARBAGE
        ]
        commands += [
            hpub(f"galerne.{subject}".encode(), header, b"\xff{")
            for subject in SUBJECTS
            for header in HEADERS
        ]
        commands += [
            pub(b"galerne." + subject + b".\xff\xfe", b"{}")
            for subject in (b"submit", b"command", b"ev.0.default.live.done", b"live.x", b"tool")
        ]
        half = len(commands) // 2
        await raw(server.port, *commands[:half])
        await fleet.submit("live")
        await raw(server.port, *commands[half:])
        await fleet.submit("after")
        for job in ("before", "after"):
            assert (await fleet.end(job)).result == RESULT
        await fleet.emptied("SUBMIT", "admit-default")
        await fleet.emptied("SUBMIT", "commands")
        for part in range(settings.bus.partitions):
            await fleet.emptied("EVENTS", f"part-{part}")
        await fleet.emptied("TASKS", "executor-normal-default")
        for member in members:
            assert not member.ended.is_set()
            assert not member.bus.closed.is_set()
        kept = Counter(record.subject for record in await fleet.quarantined())
        for subject in ("submit.default", "command.default"):
            assert kept[f"galerne.{subject}"] >= len(GARBAGE)
        for subject in ("ev.0.default.live.done.1", "ev.1.default.live.done.1"):
            assert kept[f"galerne.{subject}"] >= len(GARBAGE)


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("done.plan-1", "failed"),
        ("ready.planner.normal.plan-1", "failed"),
        ("cancel", "cancelled"),
        ("end", None),
        ("plan.1.1", "failed"),
        ("run.plan-1", "succeeded"),
        ("step.1.1", "succeeded"),
    ],
)
async def test_garbage_in_a_jobs_own_log_never_hangs_it(
    server: NatsServer, settings: Settings, name: str, status: str | None
) -> None:
    async with fleet_on(settings) as fleet:
        subject = fleet.bus.subjects.job(fleet.address("job"), name)
        await raw(server.port, pub(subject.encode(), b"\xff{"))
        await until(lambda: fleet.facts.last(fleet.address("job"), name), "it is there")
        await whole(fleet)
        await fleet.submit("job")
        if status is None:
            await fleet.emptied("SUBMIT", "admit-default")
        else:
            ended = await fleet.end("job")
            assert ended.status == status, ended
        await fleet.submit("good")
        assert (await fleet.end("good")).result == RESULT


async def test_valid_messages_of_the_wrong_kind_are_kept(
    server: NatsServer, settings: Settings
) -> None:
    call = CallTool(tool="x", key="a.b.c", tenant="default", arguments={}, deadline=1.0)
    messages: list[Any] = [
        Submit(goal="g", job="x"),
        Cancel(job="x"),
        Cancelled(why="x", at=1.0),
        Ended(status="succeeded", usage=Usage(), at=1.0),
        call,
        ready("1"),
    ]
    async with fleet_on(settings) as fleet:
        await whole(fleet)
        subjects = fleet.bus.subjects
        wrong = 0
        for message in messages:
            for subject, right in (
                (subjects.submit("default"), Submit),
                (subjects.command("default"), Cancel),
                (subjects.job(fleet.address("victim"), "done.1"), Done),
            ):
                if not isinstance(message, right):
                    wrong += 1
                    await raw(server.port, pub(subject.encode(), encode(message)))
        await fleet.submit("good")
        assert (await fleet.end("good")).result == RESULT

        async def all_kept() -> bool:
            return len(await fleet.quarantined()) == wrong

        await until(all_kept, "each is kept")


@pytest.mark.parametrize(
    "data",
    [
        Submit(goal="g"),
        Submit(goal="g", job="a b"),
        Submit(goal="g", job=""),
        Submit(goal="g", job="a.b"),
        Submit(goal="g", job=">"),
        Submit(goal="g", job="x" * 65),
        Submit(goal="g", job="\u00e9"),
        Cancel(job="a.*"),
    ],
)
async def test_impossible_ids_are_kept_with_the_reason(settings: Settings, data: Any) -> None:
    async with fleet_on(settings) as fleet:
        await whole(fleet)
        subject = fleet.bus.subjects
        place = subject.submit if isinstance(data, Submit) else subject.command
        await fleet.bus.publish(place("default"), encode(data))
        await fleet.submit("good")
        await fleet.end("good")
        kept = await until(fleet.quarantined, "it is kept")
        assert kept[0].data == encode(data)
        assert "id" in kept[0].error


async def test_a_command_for_no_job_is_kept(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        await fleet.coordinator()
        command = encode(Cancel(job="nobody"))
        await fleet.bus.publish(fleet.bus.subjects.command("default"), command)
        (kept,) = await until(fleet.quarantined, "it is kept")
        assert "nobody" in kept.error
        await fleet.emptied("SUBMIT", "commands")


async def test_planned_tasks_with_impossible_names_end_their_job_alone(settings: Settings) -> None:
    """They would become tokens of subjects that no server takes."""

    async def plan(context: TaskContext) -> Any:
        for n, name in enumerate(("a b", "x" * 65, "a.b", "\r\nPUB x 0\r\n\r\n", ">", ""), 1):
            context.write(Planned(revision=1, n=n, task=task(name)))
        context.write(PlanEnded(revision=1, count=6))
        return {}

    async with fleet_on(settings) as fleet:
        coordinator = await fleet.coordinator()
        bad = await fleet.planner(agent(plan, lane="planner", kinds=("plan", "answer")))
        await fleet.submit("bad")
        ended = await fleet.end("bad")
        assert ended.status == "failed"
        await bad.leave()
        await fleet.planner(planning(*PLAN))
        await fleet.worker(echoing)
        await fleet.submit("good")
        assert (await fleet.end("good")).result == RESULT
        assert not coordinator.bus.closed.is_set()


async def test_a_usage_that_does_not_fit_ends_its_job_alone(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        coordinator = await fleet.coordinator()
        await fleet.submit("bad")
        await until(lambda: fleet.find("bad", "ready.planner.normal.plan-1"), "it is begun")
        for n in range(2):
            usage = Usage(models={f"{n}{'m' * 400_000}": ModelUsage(calls=1)})
            done = Done(
                task=TaskId(f"t{n}" if n else "plan-1"),
                outcome=Succeeded({}),
                usage=usage,
                by="hostile",
                attempt=1,
                at=1.0,
            )
            await fleet.put("bad", done)
        await fleet.put("bad", Cancelled(why="enough", at=1.0))
        ended = await fleet.end("bad")
        assert ended.status == "failed"
        assert not coordinator.ended.is_set()
        await fleet.planner(planning(*PLAN))
        await fleet.worker(echoing)
        await fleet.submit("good")
        assert (await fleet.end("good")).result == RESULT


async def test_hostile_valid_facts_hurt_their_own_job_only(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        members = [await fleet.coordinator(), await fleet.planner(planning(*PLAN))]
        facts: list[Any] = [
            Planned(revision=1, n=99, task=task("loop", "loop")),
            Planned(revision=-5, n=-5, task=task("1", "2", "3", "4")),
            Planned(revision=10**30, n=10**30, task=task("answer")),
            PlanEnded(revision=1, count=10**30),
            PlanEnded(revision=7, count=-1),
            Claimed(task=TaskId("1"), by="x" * 10_000, until=0.0, attempt=-(10**18)),
            ModelStep(
                task=TaskId("1"),
                n=-1,
                message=asking("x").messages[0],
                model="m",
                finish="f",
                usage=TokenUsage(),
            ),
            Done(
                task=TaskId("nobody"),
                outcome=Succeeded(None),
                usage=Usage(),
                by="x",
                attempt=10**18,
                at=-1e308,
            ),
        ]
        for n, fact in enumerate(facts):
            await fleet.submit(f"victim{n}")
            await fleet.put(f"victim{n}", fact)
            await fleet.put("unknown", fact)
        await fleet.worker(echoing)
        await fleet.submit("good")
        assert (await fleet.end("good")).result == RESULT
        for n in range(len(facts)):
            await fleet.end(f"victim{n}")
        for member in members:
            assert not member.ended.is_set()


async def test_forged_presence_costs_time_and_no_job(
    server: NatsServer, settings: Settings
) -> None:
    async with fleet_on(settings) as fleet:
        await whole(fleet)
        data = b'{"type":"coordinator_present","worker":"%s"}'
        subject = fleet.bus.subjects.presence("coordinator").encode()
        await raw(server.port, *(pub(subject, data % b"ghost%d" % n) for n in range(50)))
        await fleet.submit("job")
        assert (await fleet.end("job")).result == RESULT


async def test_one_model_call_for_each_task_with_two_of_everything(settings: Settings) -> None:
    model = ScriptedModel()
    async with fleet_on(settings) as fleet:
        await whole(fleet)
        await fleet.coordinator()
        await fleet.worker(echoing, model)
        for n in range(20):
            await fleet.submit(f"job{n}")
        for n in range(20):
            await fleet.end(f"job{n}")
        assert set(Counter(model.keys).values()) <= {1}
        for n in range(20):
            facts = await fleet.facts_of(f"job{n}")
            claims = [one.fact for one in facts if isinstance(one.fact, Claimed)]
            assert {claim.attempt for claim in claims} == {1}  # a slow one renews it
            names = [one.name for one in facts if not isinstance(one.fact, Claimed)]
            assert Counter(names).most_common(1)[0][1] == 1


async def test_the_sweep_finds_a_job_that_was_missed(settings: Settings) -> None:
    """A wake that never came: its message is acknowledged by somebody who does nothing."""
    hasty: Settings = msgspec.structs.replace(
        settings, coordinator=msgspec.structs.replace(settings.coordinator, sweep=0.6)
    )
    async with fleet_on(hasty) as fleet:
        await fleet.coordinator()
        await fleet.submit("job")
        await until(lambda: fleet.find("job", "ready.planner.normal.plan-1"), "it is begun")
        stream = fleet.bus.subjects.stream("EVENTS")
        part = fleet.address("job").part
        await fleet.bus.api(f"CONSUMER.DELETE.{stream}.part-{part}")
        await fleet.planner(planning(*PLAN))
        await fleet.worker(echoing)
        assert (await fleet.end("job")).result == RESULT


async def test_what_another_replica_took_shows_in_the_count_of_the_next(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the part is read anew, without the sweep: nothing in the fact itself says so."""
    serve = Coordinator._on_fact
    taken: list[str] = []

    def serve_some(one: Coordinator, part: Any, delivery: Delivery, tasks: Any) -> None:
        if delivery.subject.endswith(".job.done.plan-1"):  # as if it had gone elsewhere
            taken.append(delivery.subject)
            delivery.ack()
        else:
            serve(one, part, delivery, tasks)

    monkeypatch.setattr(Coordinator, "_on_fact", serve_some)
    async with fleet_on(without_sweep(settings)) as fleet:
        await fleet.coordinator()
        planner = await fleet.planner(planning(*PLAN))
        await fleet.submit("job")
        await fleet.done("job", "plan-1")
        await fleet.emptied("EVENTS", f"part-{fleet.address('job').part}")
        assert len(taken) == 1
        assert await fleet.find("job", "ready.executor.normal.3") is None
        await planner.leave()
        names = (f"other{n}" for n in itertools.count())
        part = fleet.address("job").part
        await fleet.submit(next(name for name in names if fleet.address(name).part == part))
        await fleet.planner(planning(*PLAN))
        await fleet.worker(echoing)
        assert (await fleet.end("job")).result == RESULT


def without_sweep(settings: Settings) -> Settings:
    coordinator = msgspec.structs.replace(settings.coordinator, sweep=3600.0)
    changed: Settings = msgspec.structs.replace(settings, coordinator=coordinator)
    return changed


async def test_a_bad_submission_ends_with_the_reason_and_ends_no_other(settings: Settings) -> None:
    bad = b'{"type":"submit","job":"%s","goal":"g","priority":"urgent"}'
    async with fleet_on(settings) as fleet:
        await whole(fleet)
        await fleet.submit_bytes(bad % b"new")
        ended = await fleet.end("new")
        why = "the job was refused: priority must be high, normal or low"
        assert (ended.status, ended.error) == ("failed", why)
        await until(fleet.quarantined, "it is kept as well")
        await fleet.submit("tools", tools=("fine", "a b"))
        assert "'a b' is not usable" in ((await fleet.end("tools")).error or "")
        await fleet.put(
            "held",
            Submitted(job=JobSpec(id=JobId("held"), tenant=DEFAULT_TENANT, goal="g"), at=1.0),
        )
        await fleet.submit_bytes(bad % b"held")
        await fleet.submit("held", goal=" ")
        await fleet.submit("held", tools=("a b",))
        await fleet.submit("new")
        await fleet.emptied("SUBMIT", "admit-default")
        assert (await fleet.end("held")).result == RESULT
        assert [record.name for record in await fleet.facts_of("new")] == ["end"]
