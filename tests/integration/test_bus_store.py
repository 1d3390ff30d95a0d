"""Write-once: what is written stands, whoever else tries, whatever happens to the server."""

from typing import Any

import anyio
import msgspec
import pytest

from galerne.bus import store
from galerne.bus.connection import Bus, Message, connect
from galerne.bus.mapping import ConflictError
from galerne.bus.server import NatsServer
from galerne.errors import PermanentError, TooLargeError, TransientError
from galerne.messages.facts import Cancelled, Claimed, Ended, Planned
from galerne.messages.ids import TaskId
from galerne.messages.plan import Usage
from galerne.settings import Settings
from integration.fleet import fleet_on, hpub, pub, raw, ready, task, until

pytestmark = pytest.mark.anyio

EVENTS = "GALERNE_EVENTS"


def losing_acks(bus: Bus, losses: int) -> list[str]:
    """The next acknowledged publishes are stored, but their acknowledgements get lost."""
    lost: list[str] = []
    publish = bus.publish

    async def publish_and_lose(subject: str, data: bytes, **options: Any) -> int:
        sequence = await publish(subject, data, **options)
        if len(lost) < losses:
            lost.append(subject)
            raise TransientError("the acknowledgement was lost")
        return sequence

    bus.publish = publish_and_lose  # type: ignore[method-assign]
    return lost


async def test_the_first_write_stands(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        address = fleet.address("job")
        first = Cancelled(why="first", at=1.0)
        assert await fleet.facts.write(address, first) is None
        stands = await fleet.facts.write(address, Cancelled(why="second", at=2.0))
        assert stands is not None
        assert stands.fact == first


async def test_our_own_lost_acknowledgement_counts_as_written(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        lost = losing_acks(fleet.bus, 3)
        address = fleet.address("job")
        assert await fleet.facts.write(address, Cancelled(why="ours", at=1.0)) is None
        assert len(lost) == 1  # the second try is refused by the log, and finds itself there
        assert len(await fleet.facts_of("job")) == 1


async def test_a_claim_whose_acknowledgement_is_lost_is_told_to_the_caller(
    settings: Settings,
) -> None:
    async with fleet_on(settings) as fleet:
        address = fleet.address("job")
        claim = Claimed(task=TaskId("1"), by="me", until=1.0, attempt=1)
        losing_acks(fleet.bus, 1)
        with pytest.raises(TransientError):
            await fleet.facts.append(address, claim, 0)
        with pytest.raises(ConflictError):
            await fleet.facts.append(address, claim, 0)
        last = await fleet.facts.last(address, "run.1")
        assert last is not None
        assert await fleet.facts.append(address, claim, last.sequence) > last.sequence


async def test_unreadable_bytes_stand_too(server: NatsServer, settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        address = fleet.address("job")
        subject = fleet.bus.subjects.job(address, "cancel")
        await raw(server.port, pub(subject.encode(), b"\xff\x00{"))
        await until(lambda: fleet.facts.last(address, "cancel"), "the bytes are in the log")
        stands = await fleet.facts.write(address, Cancelled(why="late", at=1.0))
        assert stands is not None
        assert stands.fact is None
        assert stands.data == b"\xff\x00{"
        assert "not a fact" in (stands.error or "")


async def test_a_fact_that_is_too_large_is_refused_at_once(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        address = fleet.address("job")
        huge = Ended(status="succeeded", usage=Usage(), at=1.0, result="x" * 700_000)
        with anyio.fail_after(10), pytest.raises(TooLargeError):
            await fleet.facts.write(address, huge)
        assert await fleet.facts.write(address, Cancelled(why="small", at=1.0)) is None


async def test_what_a_stream_refuses_is_permanent(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        info = await fleet.bus.api(f"STREAM.INFO.{EVENTS}")
        await fleet.bus.api(f"STREAM.UPDATE.{EVENTS}", {**info["config"], "max_msg_size": 1000})
        address = fleet.address("job")
        with anyio.fail_after(10), pytest.raises(TooLargeError):
            await fleet.facts.write(address, Cancelled(why="x" * 2000, at=1.0))
        await fleet.bus.api(f"STREAM.UPDATE.{EVENTS}", {**info["config"], "sealed": True})
        with anyio.fail_after(10), pytest.raises(PermanentError):
            await fleet.facts.write(address, Cancelled(why="x", at=1.0))


async def test_five_hundred_writes_across_a_kill_are_there_once(
    server: NatsServer, settings: Settings
) -> None:
    async with fleet_on(settings) as fleet:
        address = fleet.address("job")
        finished = 0
        foreign: list[object] = []

        async def write(n: int) -> None:
            nonlocal finished
            fact = Planned(revision=1, n=n, task=task(f"t{n}"))
            stands = await fleet.facts.write(address, fact)
            if stands is not None:
                foreign.append(stands)
            finished += 1

        async def crash() -> None:
            async def some() -> bool:
                return finished > 50

            await until(some, "some are written")
            await server.kill()
            await server.start()

        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(crash)
                for n in range(1, 501):
                    tasks.start_soon(write, n)
                    if n % 20 == 0:
                        await anyio.sleep(0.01)  # so that the crash finds writes in all states
        assert not foreign
        records = await fleet.facts_of("job")
        assert sorted(r.fact.n for r in records if isinstance(r.fact, Planned)) == list(
            range(1, 501)
        )


async def test_a_write_waits_for_the_server_and_can_be_cancelled(
    server: NatsServer, settings: Settings
) -> None:
    async with fleet_on(settings) as fleet:
        await server.kill()
        with anyio.move_on_after(0.3) as scope:
            await fleet.facts.write(fleet.address("job"), Cancelled(why="x", at=1.0))
        assert scope.cancelled_caught
        await server.start()
        stands = await fleet.facts.write(fleet.address("job"), Cancelled(why="y", at=1.0))
        # the cancelled write may have been sent from the buffer, and then stands
        assert stands is None or stands.fact == Cancelled(why="x", at=1.0)


async def test_a_job_of_more_than_a_batch_is_read_whole(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        async with anyio.create_task_group() as tasks:
            for n in range(1, 601):
                fact = Planned(revision=1, n=n, task=task(f"t{n}"))
                tasks.start_soon(fleet.put, "job", fact)
                tasks.start_soon(fleet.put, "other", fact)
        records = await fleet.facts_of("job")
        assert len(records) == 600
        assert [r.sequence for r in records] == sorted(r.sequence for r in records)
        half = records[299].sequence
        rest = await fleet.facts.read_job(fleet.address("job"), after=half)
        assert rest == records[300:]


async def test_a_log_of_a_hundred_megabytes_is_read_whole(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        text = "x" * 400_000
        limiter = anyio.CapacityLimiter(16)

        async def put(n: int) -> None:
            async with limiter:
                spec = msgspec.structs.replace(task(f"t{n}"), instruction=text)
                await fleet.put("job", Planned(revision=1, n=n, task=spec))

        async with anyio.create_task_group() as tasks:
            for n in range(1, 251):
                tasks.start_soon(put, n)
        with anyio.fail_after(30):
            assert len(await fleet.facts_of("job")) == 250


async def test_an_empty_job_is_empty(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        assert await fleet.facts_of("nobody") == []
        assert await fleet.facts.last(fleet.address("nobody"), "end") is None


async def test_reading_without_a_server_is_transient(
    server: NatsServer, settings: Settings
) -> None:
    quick = msgspec.structs.replace(
        settings, bus=msgspec.structs.replace(settings.bus, request_timeout=0.3)
    )
    async with fleet_on(quick) as fleet:
        await server.kill()
        with pytest.raises(TransientError):
            await fleet.facts_of("job")
        with pytest.raises(TransientError):
            await fleet.facts.last(fleet.address("job"), "end")


FORGED = (
    b"NATS/1.0\r\nNats-Sequence: %s\r\nNats-Subject: galerne.ev.0.default.other.end\r\n"
    b"Nats-Time-Stamp: yesterday\r\nStatus: 204\r\nNats-Num-Pending: 9\r\n"
    b"Nats-Msg-Id: forged\r\n\r\n"
)


@pytest.mark.parametrize("sequence", [b"1", b"0", b"abc", b"99999999"])
async def test_forged_headers_do_not_mislead_a_reader(
    server: NatsServer, settings: Settings, sequence: bytes
) -> None:
    async with fleet_on(settings) as fleet:
        address = fleet.address("job")
        await fleet.put("job", ready("1"))
        subject = fleet.bus.subjects.job(address, "cancel").encode()
        await raw(server.port, hpub(subject, FORGED % sequence, b'{"type":"cancelled"}'))
        await until(lambda: fleet.facts.last(address, "cancel"), "the forged one is there")
        await fleet.put("job", ready("2"))
        with anyio.fail_after(10):
            records = await fleet.facts_of("job")
        names = ["ready.executor.normal.1", "cancel", "ready.executor.normal.2"]
        assert [record.name for record in records] == names
        assert [record.sequence for record in records] == [1, 2, 3]
        assert all(record.at > 1_700_000_000 for record in records)


async def test_a_planned_task_with_an_impossible_name_is_unreadable(
    server: NatsServer, settings: Settings
) -> None:
    async with fleet_on(settings) as fleet:
        address = fleet.address("job")
        names = ["a b", "a.b", ">", "", "x" * 65, "é", "\r\nPUB x 0\r\n\r\n"]
        for n, name in enumerate(names, 1):
            data = msgspec.json.encode(Planned(revision=1, n=n, task=task(name)))
            subject = fleet.bus.subjects.job(address, f"plan.1.{n}")
            await fleet.bus.publish(subject, data)
        records = await fleet.facts_of("job")
        assert len(records) == len(names)
        for record in records:
            assert record.fact is None
            assert record.error


async def test_the_leader_is_asked_for_the_last_message(settings: Settings) -> None:
    """Direct reads may be stale on a replica; guards must not be."""
    async with connect(settings.bus, "a") as bus:
        asked: list[str] = []
        request = bus.request

        async def remember(subject: str, data: bytes, **options: Any) -> Message:
            asked.append(subject)
            return await request(subject, data, **options)

        bus.request = remember  # type: ignore[method-assign]
        assert await store.last(bus, EVENTS, "galerne.ev.0.a.b.end") is None
        assert asked == [f"$JS.API.STREAM.MSG.GET.{EVENTS}"]
