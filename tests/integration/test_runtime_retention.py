"""Jobs that are over: exported, archived, purged, and their ids free for new jobs."""

import itertools
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
from structlog.testing import capture_logs

from galerne.bus.blobs import Blobs
from galerne.bus.connection import connect
from galerne.client.export import export_lines, parse_export, read_export, write_whole
from galerne.client.orphans import PATIENCE, collect_orphans
from galerne.client.purge import purge_ended, purge_job
from galerne.core.replay import replay
from galerne.errors import NotFoundError, PermanentError, TransientError
from galerne.messages.facts import Claimed, Done, Ended, JobSpec, Submitted
from galerne.messages.ids import DEFAULT_TENANT, JobId, TaskId
from galerne.messages.plan import Succeeded, Usage
from galerne.runtime.retention import IN_A_ROW, Retention
from galerne.settings import RetentionSettings, Settings
from integration.fleet import Fleet, echoing, fleet_on, planning, task, until

pytestmark = pytest.mark.anyio

PLAN = (task("1"), task("2"), task("3", "1", "2"))
LONG_AGO = 0.001
"""Seconds to keep: whatever is over is due."""


async def whole(fleet: Fleet) -> None:
    await fleet.coordinator()
    await fleet.planner(planning(*PLAN))
    await fleet.worker(echoing)


async def left(fleet: Fleet, job: str) -> dict[str, int]:
    """Messages that the streams hold under the job's id."""
    counts: dict[str, int] = {}
    for name in ("EVENTS", "TASKS", "TOOLJ"):
        body = {"subjects_filter": ">"}
        info = await fleet.bus.api(f"STREAM.INFO.{fleet.bus.subjects.stream(name)}", body)
        subjects: dict[str, int] = info["state"].get("subjects") or {}
        counts[name] = sum(n for subject, n in subjects.items() if job in subject.split("."))
    counts["blobs"] = sum(held.job == job for held in await Blobs(fleet.bus, 1 << 20).jobs())
    return counts


NOTHING = {"EVENTS": 0, "TASKS": 0, "TOOLJ": 0, "blobs": 0}


async def with_leftovers(fleet: Fleet, job: str) -> None:
    """What a job may leave beside its log: a journal, a blob, a queued task, a late fact."""
    subjects = fleet.bus.subjects
    await fleet.bus.publish(subjects.tool_journal("default", f"{job}.1.2", "result"), b"{}")
    await Blobs(fleet.bus, 1 << 20).put_bytes("default", job, b"x" * 1000)
    await fleet.put(job, _late(job))


def _late(job: str) -> Any:
    return Claimed(task=TaskId("zombie"), by=f"worker of {job}", until=0.0, attempt=1)


def retention(fleet: Fleet, clock: float = 0.0, **fields: Any) -> Retention:
    """With a clock that is `clock` seconds ahead."""
    settings = msgspec.structs.replace(RetentionSettings(keep=3600.0), **fields)
    return Retention(fleet.bus, settings, lambda: time.time() + clock)


def all_parts(fleet: Fleet) -> Any:
    return lambda: range(fleet.bus.subjects.partitions)


# export


def parts_in(folder: Path) -> list[Path]:
    """What a file that was not finished would leave."""
    return [*folder.glob("*.part"), *folder.glob(".*.part")]


async def exported(fleet: Fleet, job: str) -> AsyncGenerator[bytes]:
    async for piece in export_lines(fleet.bus, fleet.address(job), 1.0, "0.0.test"):
        yield piece


async def test_an_export_holds_every_fact_and_replays(settings: Settings, tmp_path: Path) -> None:
    async with fleet_on(settings) as fleet:
        await whole(fleet)
        await fleet.submit("job")
        await fleet.end("job")
        spoilt = fleet.bus.subjects.job(fleet.address("job"), "done.9")
        await fleet.bus.publish(spoilt, b"\xff no fact")
        records = await fleet.facts_of("job")
        path = tmp_path / "job.jsonl"
        await write_whole(path, exported(fleet, "job"))
        recording = read_export(path)
        assert (recording.header.tenant, recording.header.job) == ("default", "job")
        assert recording.header.partitions == settings.bus.partitions
        assert recording.header.galerne == "0.0.test"
        there = [(one.sequence, one.name, one.fact) for one in recording.entries]
        assert there == [(one.sequence, one.name, one.fact) for one in records]
        assert [one.at for one in recording.entries] == [one.at for one in records]
        assert recording.entries[-1].fact is None
        assert b"/yBubyBmYWN0" in path.read_bytes()
        assert replay(recording.entries) == []
        assert parts_in(tmp_path) == []


async def test_a_running_job_is_exported_as_far_as_it_is(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        await fleet.coordinator()
        await fleet.planner(planning(*PLAN))
        await fleet.submit("job")
        await until(lambda: fleet.find("job", "ready.executor.normal.2"), "a task is ready")
        lines = b"".join([piece async for piece in exported(fleet, "job")]).splitlines()
        recording = parse_export(lines, "stdin")
        assert recording.entries[0].name == "submitted"
        assert replay(recording.entries) == []


async def test_there_is_no_file_where_there_is_no_job(settings: Settings, tmp_path: Path) -> None:
    async with fleet_on(settings) as fleet:
        with pytest.raises(NotFoundError, match="nothing to export"):
            await write_whole(tmp_path / "job.jsonl", exported(fleet, "job"))
        assert not await anyio.Path(tmp_path / "job.jsonl").exists()
        assert parts_in(tmp_path) == []


async def test_an_export_of_thousands_of_facts_comes_in_pieces(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        async with anyio.create_task_group() as tasks:
            for n in range(2000):
                tasks.start_soon(fleet.put, "job", _result(n))
        pieces = [piece async for piece in exported(fleet, "job")]
        assert len(pieces) > 5
        assert max(map(len, pieces)) < 256 * 500
        assert len(parse_export(b"".join(pieces).splitlines(), "it").entries) == 2000


def _result(n: int) -> Any:
    return Done(
        task=TaskId(f"t{n}"), outcome=Succeeded(n), usage=Usage(), by="w", attempt=1, at=1.0
    )


# purge


async def test_everything_of_a_purged_job_is_gone_and_of_others_nothing(
    settings: Settings,
) -> None:
    async with fleet_on(settings) as fleet:
        await whole(fleet)
        for job in ("job", "other"):
            await fleet.submit(job)
            await fleet.end(job)
            await with_leftovers(fleet, job)
        before = await left(fleet, "other")
        assert before["EVENTS"] > 10
        await purge_job(fleet.bus, fleet.address("job"))
        assert await left(fleet, "job") == NOTHING
        assert await left(fleet, "other") == before
        with pytest.raises(NotFoundError, match="nothing to purge"):
            await purge_job(fleet.bus, fleet.address("job"))


async def test_a_job_that_is_not_over_is_not_purged(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        await fleet.coordinator()
        await fleet.submit("job")
        await until(lambda: fleet.find("job", "submitted"), "it is admitted")
        with pytest.raises(PermanentError, match="is not over: cancel it first"):
            await purge_job(fleet.bus, fleet.address("job"))
        assert (await left(fleet, "job"))["EVENTS"] > 0


async def test_a_purged_id_is_a_new_job(settings: Settings) -> None:
    """To a coordinator that remembers the old one, too."""
    async with fleet_on(settings) as fleet:
        await whole(fleet)
        await fleet.submit("job", goal="the first")
        first = await fleet.end("job")
        await purge_job(fleet.bus, fleet.address("job"))
        await fleet.submit("job", goal="the second")
        second = await fleet.end("job")
        assert first.status == second.status == "succeeded"
        submitted = await fleet.find("job", "submitted")
        assert submitted is not None
        assert msgspec.to_builtins(submitted)["job"]["goal"] == "the second"


@pytest.mark.parametrize("calls", range(1, 20, 2))
async def test_a_purge_that_breaks_off_anywhere_is_finished_later(
    settings: Settings, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end stands as long as anything does, so the sweep finds it again."""
    async with fleet_on(settings) as fleet:
        await whole(fleet)
        await fleet.submit("job")
        await fleet.end("job")
        await with_leftovers(fleet, "job")
        api, made = fleet.bus.api, 0

        async def breaking(name: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
            nonlocal made
            made += 1
            if made > calls:
                raise TransientError("the process is dead")
            return await api(name, body)

        with monkeypatch.context() as patch:
            patch.setattr(fleet.bus, "api", breaking)
            with pytest.raises(TransientError):
                await purge_job(fleet.bus, fleet.address("job"))
        some = await left(fleet, "job")
        assert some != NOTHING
        assert isinstance(await fleet.find("job", "end"), Ended)
        assert await retention(fleet, 7200.0).sweep(all_parts(fleet)) == 1
        assert await left(fleet, "job") == NOTHING


async def test_while_anything_is_left_of_a_job_its_end_stands(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of its facts in turn cannot be deleted."""
    async with fleet_on(settings) as fleet:
        for kept in range(1, 8):
            job = f"job{kept}"
            for n in range(5):
                await fleet.put(job, _result(n))
            await fleet.put(job, _end())
            await fleet.put(job, _late(job))
            with monkeypatch.context() as patch:
                patch.setattr(fleet.bus, "api", failing_at(fleet.bus.api, "MSG.DELETE", kept))
                with pytest.raises(TransientError, match="the process is dead"):
                    await purge_job(fleet.bus, fleet.address(job))
            names = {record.name for record in await fleet.facts_of(job)}
            assert len(names) == 1 if kept == 7 else len(names) >= 2
            assert "end" in names
            await purge_job(fleet.bus, fleet.address(job))
            assert await left(fleet, job) == NOTHING


Api = Callable[..., Awaitable[dict[str, Any]]]


def failing_at(api: Api, part: str, number: int) -> Api:
    """That request with `part` in its name fails, counted from 1."""
    made = 0

    async def failing(name: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        nonlocal made
        made += part in name
        if part in name and made == number:
            raise TransientError("the process is dead")
        return await api(name, body)

    return failing


class Standing:
    """An API that stands still before its `number`th request, until it is let go."""

    def __init__(self, api: Api, number: int) -> None:
        self.reached = anyio.Event()
        self.go = anyio.Event()
        self._api = api
        self._left = number

    async def __call__(self, name: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        self._left -= 1
        if self._left == 0:
            self.reached.set()
            await self.go.wait()
        return await self._api(name, body)


@pytest.mark.parametrize("number", range(1, 13))
async def test_a_slow_purge_takes_nothing_of_the_next_job_of_that_id(
    settings: Settings, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another purges it meanwhile, and the id is submitted again."""
    async with fleet_on(settings) as fleet:
        await fleet.coordinator()
        await fleet.planner(planning(task("1")))
        worker = await fleet.worker(echoing)
        await fleet.submit("job")
        await fleet.end("job")
        await with_leftovers(fleet, "job")
        await worker.leave()
        counts: list[dict[str, int]] = []
        async with connect(settings.bus, "slow") as bus, anyio.create_task_group() as tasks:
            standing = Standing(bus.api, number)
            monkeypatch.setattr(bus, "api", standing)

            async def purge() -> None:
                with suppress(PermanentError):  # it looks for the end after that
                    await purge_job(bus, fleet.address("job"))

            tasks.start_soon(purge)
            await standing.reached.wait()
            await purge_job(fleet.bus, fleet.address("job"))
            await fleet.submit("job", goal="again")
            await until(lambda: fleet.find("job", "ready.executor.normal.1"), "it has begun anew")
            await fleet.bus.publish(
                fleet.bus.subjects.tool_journal("default", "job.1.2", "result"), b"{}"
            )

            async def sourced() -> bool:
                return (await left(fleet, "job"))["TASKS"] == 1

            await until(sourced, "its task is queued")
            counts.append(await left(fleet, "job"))
            standing.go.set()
        counts.append(await left(fleet, "job"))
        assert counts[0] == counts[1]
        assert await fleet.pending("SUBMIT", "admit-default") == 1
        await fleet.worker(echoing)
        assert (await fleet.end("job")).status == "succeeded"


async def test_a_slow_purge_leaves_the_blobs_of_the_next_job(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with fleet_on(settings) as fleet:
        await fleet.put("job", _end())
        async with connect(settings.bus, "slow") as bus, anyio.create_task_group() as tasks:
            standing = Standing(bus.api, 2)
            monkeypatch.setattr(bus, "api", standing)
            tasks.start_soon(purge_job, bus, fleet.address("job"))
            await standing.reached.wait()
            await purge_job(fleet.bus, fleet.address("job"))
            await Blobs(fleet.bus, 1 << 20).put_bytes("default", "job", b"x" * 1000)
            standing.go.set()
        assert (await left(fleet, "job"))["blobs"] == 1


async def test_by_age_the_old_ones_of_one_tenant_go(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        for tenant in ("default", "other"):
            for n in range(70):  # more than one batch of ends
                await fleet.put(f"job{n}", _end(), tenant)
        ends = await fleet.facts.read(fleet.bus.subjects.events(tenant="default", rest="end"))
        middle = sorted(record.at for record in ends)[40]
        purged = await purge_ended(fleet.bus, DEFAULT_TENANT, middle - 1e-6)
        kept = await fleet.facts.read(fleet.bus.subjects.events(rest="end"))
        assert purged == 40
        assert len(kept) == 140 - 40


def _end() -> Ended:
    return Ended(status="failed", usage=Usage(), at=1.0, error="refused")


# retention


async def test_coordinators_purge_what_has_been_kept_long_enough(
    settings: Settings, tmp_path: Path
) -> None:
    settings = msgspec.structs.replace(
        settings,
        retention=RetentionSettings(keep=LONG_AGO, sweep=0.05, archive=str(tmp_path / "archive")),
    )
    async with fleet_on(settings) as fleet:
        await whole(fleet)
        jobs = [f"job{n}" for n in range(12)]
        for job in jobs:
            await fleet.submit(job)
        archive = tmp_path / "archive" / "default"

        async def gone() -> bool:
            archived = {path.name.partition(".")[0] for path in archive.glob("*.jsonl")}
            return archived == set(jobs) and not await fleet.facts.read(fleet.bus.subjects.events())

        await until(gone, "all jobs are archived and purged")
        for path in archive.iterdir():
            recording = read_export(path)
            assert recording.entries[-1].name == "end"
            assert replay(recording.entries) == []


async def test_what_is_young_stays_and_costs_nothing_until_it_is_due(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        await fleet.put("job", _end())
        reads = 0
        batch = type(fleet.facts)._read_batch  # pyright: ignore[reportPrivateUsage]

        async def counted(log: Any, *arguments: Any) -> Any:
            nonlocal reads
            reads += 1
            return await batch(log, *arguments)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(fleet.facts), "_read_batch", counted)
            one = retention(fleet)
            for _ in range(5):
                assert await one.sweep(all_parts(fleet)) == 0
            assert reads == fleet.bus.subjects.partitions
        assert await fleet.find("job", "end") is not None


async def test_parts_of_others_are_left_alone(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        for n in range(8):
            await fleet.put(f"job{n}", _end())
        mine = [n for n in range(8) if fleet.address(f"job{n}").part == 1]
        assert 0 < len(mine) < 8
        assert await retention(fleet, 7200.0).sweep(lambda: [1]) == len(mine)


async def test_without_its_archive_nothing_is_purged(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "archive").write_text("a file, not a folder")
    async with fleet_on(settings) as fleet:
        await fleet.put("job", _end())
        broken = retention(fleet, 7200.0, archive=str(tmp_path / "archive"))
        assert await broken.sweep(all_parts(fleet)) == 0
        assert await fleet.find("job", "end") is not None
        (tmp_path / "archive").unlink()
        assert await broken.sweep(all_parts(fleet)) == 1


def of_one_part(fleet: Fleet, count: int) -> list[str]:
    named = (f"job{n}" for n in itertools.count())
    return list(itertools.islice((j for j in named if fleet.address(j).part == 0), count))


async def test_one_that_fails_keeps_no_other_one(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told of once, and goes as soon as it can."""
    async with fleet_on(settings) as fleet:
        jobs = of_one_part(fleet, 8)
        for job in jobs:
            await fleet.put(job, _end())
        bad = set(jobs[:2])

        async def purge(bus: Any, address: Any) -> None:
            if address.job in bad:
                raise PermanentError(f"{address.job} cannot be purged")
            await purge_job(bus, address)

        monkeypatch.setattr("galerne.runtime.retention.purge_gently", purge)
        one = retention(fleet, 7200.0)
        with capture_logs() as lines:
            assert await one.sweep(all_parts(fleet)) == 6
            assert await one.sweep(all_parts(fleet)) == 0
        told = [line["job"] for line in lines if line["log_level"] == "error"]
        assert sorted(told) == sorted(bad)
        bad.clear()
        assert await one.sweep(all_parts(fleet)) == 2
        assert await fleet.facts.read(fleet.bus.subjects.events()) == []


async def test_many_that_fail_end_a_sweep_and_keep_no_other_one(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with fleet_on(settings) as fleet:
        jobs = of_one_part(fleet, 3 * IN_A_ROW)
        for job in jobs:
            await fleet.put(job, _end())
        tried: list[str] = []

        async def purge(bus: Any, address: Any) -> None:
            tried.append(address.job)
            if address.job != jobs[-1]:
                raise TransientError("it does not answer")
            await purge_job(bus, address)

        monkeypatch.setattr("galerne.runtime.retention.purge_gently", purge)
        one = retention(fleet, 7200.0)
        assert await one.sweep(all_parts(fleet)) == 0
        assert tried == jobs[:IN_A_ROW]
        assert await one.sweep(all_parts(fleet)) == 0
        assert await one.sweep(all_parts(fleet)) == 1
        assert set(tried) == set(jobs)
        tried.clear()
        for _ in range(3):
            assert await one.sweep(all_parts(fleet)) == 0
        assert set(tried) == set(jobs[:-1])


async def test_an_archived_job_is_not_archived_again_in_half(
    settings: Settings, tmp_path: Path
) -> None:
    async with fleet_on(settings) as fleet:
        await whole(fleet)
        await fleet.submit("job")
        await fleet.end("job")
        end = await fleet.facts.last(fleet.address("job"), "end")
        assert end is not None
        one = retention(fleet, 7200.0, archive=str(tmp_path / "archive"))
        path = tmp_path / "archive" / "default" / f"job.{end.sequence}.jsonl"
        path.parent.mkdir(parents=True)
        await write_whole(path, exported(fleet, "job"))
        whole_file = path.read_bytes()
        stream = fleet.bus.subjects.stream("EVENTS")
        body = {"filter": fleet.bus.subjects.job(fleet.address("job")), "seq": end.sequence}
        await fleet.bus.api(f"STREAM.PURGE.{stream}", body)  # as a purge that broke off
        assert await one.sweep(all_parts(fleet)) == 1
        assert path.read_bytes() == whole_file


async def test_blobs_of_a_job_that_never_was_are_collected_after_a_while(
    settings: Settings,
) -> None:
    """Those of jobs that wait, run or have ended stay."""
    async with fleet_on(settings) as fleet:
        blobs = Blobs(fleet.bus, 1_000_000)
        for job in ("ghost", "waits", "runs", "over"):
            await blobs.put_bytes("default", job, b"some content")
        await fleet.submit("waits")
        spec = JobSpec(id=JobId("runs"), tenant=DEFAULT_TENANT, goal="g")
        await fleet.put("runs", Submitted(job=spec, at=1.0))
        await fleet.put("over", _end())
        assert await collect_orphans(fleet.bus, time.time() + PATIENCE - 60) == 0
        assert await collect_orphans(fleet.bus, time.time() + PATIENCE + 60) == 1
        assert {held.job for held in await blobs.jobs()} == {"waits", "runs", "over"}
