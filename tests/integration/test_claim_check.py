"""What is too large for a message, through a whole fleet: inputs, arguments, results, answers."""

# pyright: reportPrivateUsage=false

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from galerne.agent import TaskContext
from galerne.bus.blobs import Blobs
from galerne.bus.job_blobs import JobBlobs
from galerne.bus.server import NatsServer
from galerne.client import Client
from galerne.core.refs import resolve
from galerne.errors import (
    InvalidInputError,
    NotFoundError,
    PermanentError,
    TooLargeError,
)
from galerne.messages.blobs import Blob, is_blob, to_blob, to_value
from galerne.messages.facts import PlanEnded, Planned, Ready, Submitted, ToolStep
from galerne.messages.ids import DEFAULT_TENANT
from galerne.messages.plan import Failed, Succeeded, TaskSpec
from galerne.messages.tools import ToolRefused
from galerne.settings import Settings
from galerne.tools import BlobFile, ToolContext, tool
from integration.fleet import Fleet, agent, fleet_on, task, until

pytestmark = pytest.mark.anyio

MB = 1024 * 1024


@pytest.fixture
def settings(settings: Settings) -> Settings:
    bus = msgspec.structs.replace(settings.bus, max_blob=8 * MB)
    return msgspec.structs.replace(settings, bus=bus)


def content(size: int) -> bytes:
    """Text without a pattern that compresses, the same each time."""
    block = hashlib.sha256(str(size).encode()).hexdigest().encode()
    return (block * (size // len(block) + 1))[:size]


async def direct(context: TaskContext) -> Any:
    """A tool task, as the executor does it."""
    spec = context.ready.task
    arguments = resolve(spec.args or {}, context.ready.inputs)
    outcome = await context.call("direct", spec.tool or "", arguments)
    if isinstance(outcome, ToolRefused):
        raise PermanentError(outcome.message)
    return outcome.value


def planner(plan: Callable[[Ready], list[TaskSpec]], answer_of: str) -> Any:
    """Plans from the job's inputs; its answer is one task's value."""

    async def doing(context: TaskContext) -> Any:
        if context.ready.task.kind == "answer":
            return context.ready.inputs[answer_of]["value"]
        tasks = plan(context.ready)
        for n, one in enumerate(tasks, 1):
            context.write(Planned(revision=1, n=n, task=one))
        context.write(PlanEnded(revision=1, count=len(tasks)))
        return len(tasks)

    return agent(doing, lane="planner", kinds=("plan", "answer"))


def call(name: str, tool_name: str, *needs: str, **args: Any) -> TaskSpec:
    return task(name, *needs, kind="tool", tool=tool_name, args=args)


@tool
async def shout(report: BlobFile, context: ToolContext) -> dict[str, Any]:
    """Upper-case a report."""
    async with report.open() as file:
        text = file.read()
    blob = await context.blobs.put_bytes(text.upper(), name="loud.txt")
    return {"loud": blob, "was": report.name, "size": report.size}


@tool
async def measure(text: str) -> dict[str, int]:
    """Length of a text."""
    return {"length": len(text)}


@tool
async def rows(n: int) -> list[dict[str, Any]]:
    """A long table."""
    return [{"n": n, "name": "x" * 100} for n in range(n)]


@tool(effect="idempotent")
async def name_of(row: dict[str, Any]) -> str:
    """A row's name."""
    return str(row["name"])


async def test_a_file_goes_through_tools_by_reference(settings: Settings, tmp_path: Path) -> None:
    report = tmp_path / "report.txt"
    report.write_bytes(content(3 * MB))

    def plan(ready: Ready) -> list[TaskSpec]:
        assert is_blob(ready.inputs["report"])
        return [
            call("1", "shout", report=ready.inputs["report"]),
            call("2", "measure", "1", text={"$ref": "1.loud"}),
        ]

    async with fleet_on(settings) as fleet:
        await fleet.coordinator()
        await fleet.planner(planner(plan, "2"))
        await fleet.worker({"tool": agent(direct, kinds=("tool",))})
        await fleet.tools(shout, measure)
        async with Client.connect(settings=settings.bus) as client:
            job = await client.submit("shout", inputs={"report": report, "limit": 7})
            with anyio.fail_after(30):
                assert await job.result() == {"length": 3 * MB}
            loud = job.file((await job.output("1"))["loud"])
            assert (loud.name, loud.media, loud.size) == ("loud.txt", "text/plain", 3 * MB)
            await loud.save_to(tmp_path / "loud")
            assert (tmp_path / "loud").read_bytes() == content(3 * MB).upper()
            held = await Blobs(fleet.bus, MB).jobs()
            assert [(one.job, one.size) for one in held] == [(job.id, 6 * MB)]


async def test_a_large_result_is_put_aside_and_referred_into(
    settings: Settings, tmp_path: Path
) -> None:
    def plan(ready: Ready) -> list[TaskSpec]:
        return [
            call("1", "rows", n=5000),
            call("2", "name_of", "1", row={"$ref": "1.4321"}),
        ]

    async with fleet_on(settings) as fleet:
        await fleet.coordinator()
        await fleet.planner(planner(plan, "2"))
        await fleet.worker({"tool": agent(direct, kinds=("tool",))})
        await fleet.tools(rows, name_of)
        async with Client.connect(settings=settings.bus) as client:
            job = await client.submit("rows")
            with anyio.fail_after(30):
                assert await job.result() == "x" * 100
            step = await fleet.find(job.id, "step.1.1")
            assert isinstance(step, ToolStep)
            assert is_blob(step.value)
            assert step.content.startswith("[content too large to show: application/json")
            assert '{"$blob": "' + step.value["$blob"] in step.content
            assert 1200 < len(step.content) < 1400
            table = await job.output("1")
            assert isinstance(table, BlobFile)
            assert len(msgspec.json.decode(await table.read())) == 5000


async def test_a_large_answer_is_fetched(settings: Settings, tmp_path: Path) -> None:
    text = content(MB).decode()

    async def long(_: TaskContext) -> str:
        return text

    async def answering(context: TaskContext) -> Any:
        if context.ready.task.kind == "answer":
            shown = context.ready.inputs["1"]["value"]
            assert shown.startswith("[content too large to show: text/plain")
            assert text[:400] in shown
            return text
        context.write(Planned(revision=1, n=1, task=task("1")))
        context.write(PlanEnded(revision=1, count=1))
        return 1

    async with fleet_on(settings) as fleet:
        await fleet.coordinator()
        await fleet.planner(agent(answering, lane="planner", kinds=("plan", "answer")))
        await fleet.worker(long)
        async with Client.connect(settings=settings.bus) as client:
            job = await client.submit("write a lot")
            with anyio.fail_after(30):
                answer = await job.result()
            assert isinstance(answer, BlobFile)
            await answer.save_to(tmp_path / "answer.txt")
            assert (tmp_path / "answer.txt").read_text() == text
            assert await answer.head(5) == text[:5].encode()
            with pytest.raises(TooLargeError, match=r"limit of 0\.5 MB"):
                await answer.read(MB // 2)
            with pytest.raises(NotFoundError, match="no result"):
                await job.output("nobody")


async def test_inputs_of_tasks_that_fit_no_message_are_put_aside(settings: Settings) -> None:
    def plan(ready: Ready) -> list[TaskSpec]:
        texts = [task(str(n)) for n in (1, 2, 3)]
        whole = {f"text{n}": {"$ref": str(n)} for n in (1, 2, 3)}
        return [*texts, call("4", "together", "1", "2", "3", **whole)]

    @tool(effect="idempotent")
    async def together(text1: str, text2: str, text3: str) -> int:
        return len(text1 + text2 + text3)

    async def long(context: TaskContext) -> str:
        return content(200_000 + int(context.ready.task.id)).decode()

    async with fleet_on(settings) as fleet:
        await fleet.coordinator()
        await fleet.planner(planner(plan, "4"))
        await fleet.worker({"agent": agent(long), "tool": agent(direct, kinds=("tool",))})
        await fleet.tools(together)
        async with Client.connect(settings=settings.bus) as client:
            job = await client.submit("all together")
            with anyio.fail_after(30):
                assert await job.result() == 600_006


async def test_large_plain_inputs_go_aside_and_the_others_stay(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        await fleet.coordinator()
        async with Client.connect(settings=settings.bus) as client:
            long = content(400_000).decode()
            job = await client.submit("x", inputs={"long": long, "table": [1] * 10, "n": 1})
            spec = (await submitted_of(fleet, job.id)).job
            assert spec.inputs["table"] == [1] * 10
            assert spec.inputs["n"] == 1
            blob = to_blob(spec.inputs["long"])
            store = JobBlobs(fleet.bus, DEFAULT_TENANT, job.id)
            assert await store.value_of(blob) == long


async def test_what_is_too_large_is_refused_before_anything_is_sent(
    settings: Settings, tmp_path: Path
) -> None:
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(9 * MB)
    async with fleet_on(settings) as fleet, Client.connect(settings=settings.bus) as client:
        for inputs in ({"f": large}, {"deep": [{"f": large}]}, {"text": "x" * 9 * MB}):
            with pytest.raises(TooLargeError, match=r"9\.0 MB .* limit of 8 MB"):
                await client.submit("x", inputs=inputs)
        with pytest.raises(InvalidInputError, match="is no file"):
            await client.submit("x", inputs={"f": tmp_path})
        with pytest.raises(InvalidInputError, match="is no file"):
            await client.submit("x", inputs={"f": tmp_path / "absent"})
        with pytest.raises(InvalidInputError, match="cannot be sent as JSON"):
            await client.submit("x", inputs={"bad": object()})
        assert await Blobs(fleet.bus, MB).jobs() == []


async def test_a_job_that_names_what_is_not_there_is_refused(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        await fleet.coordinator()
        missing = to_value(Blob("a" * 64, 3))
        await fleet.submit("missing", inputs={"f": [missing]})
        end = await fleet.end("missing")
        assert "job missing has no content aaa" in (end.error or "")
        await fleet.submit("malformed", inputs={"f": {"$blob": "x", "size": 1}})
        assert "this stands for no blob" in ((await fleet.end("malformed")).error or "")
        await fleet.submit("huge", inputs={"f": to_value(Blob("a" * 64, 9 * MB))})
        assert "above the limit of 8 MB" in ((await fleet.end("huge")).error or "")


async def test_a_call_with_content_of_another_job_is_refused(settings: Settings) -> None:
    refusals: list[Any] = []
    async with fleet_on(settings) as fleet:
        other = JobBlobs(fleet.bus, DEFAULT_TENANT, "other")
        blob = to_value(await other.put_bytes(b"a secret of another job"))

        async def doing(context: TaskContext) -> str:
            wrong = (blob, {"$blob": "x"}, {**blob, "size": 1})
            refusals.extend([await context.call("c", "shout", {"report": one}) for one in wrong])
            return "done"

        await fleet.tools(shout)
        await fleet.worker(doing)
        await fleet.put("j", ready_of("1"))
        assert isinstance((await fleet.done("j", "1")).outcome, Succeeded)
    assert [one.code for one in refusals] == ["not_found", "invalid_input", "not_found"]
    assert all("secret" not in one.message for one in refusals)


async def test_a_value_above_every_limit_fails_its_task_with_the_limit(settings: Settings) -> None:
    async def huge(context: TaskContext) -> str:
        return "x" * (9 * MB)

    async with fleet_on(settings) as fleet:
        await fleet.worker(huge)
        await fleet.put("j", ready_of("1"))
        outcome = (await fleet.done("j", "1")).outcome
        assert isinstance(outcome, Failed)
        assert outcome.code == "too_large"
        assert "limit of 8 MB" in outcome.message


async def test_a_tool_whose_result_is_above_every_limit_is_refused(settings: Settings) -> None:
    outcomes: list[Any] = []

    @tool
    async def huge() -> str:
        return "x" * (9 * MB)

    async def doing(context: TaskContext) -> str:
        outcomes.append(await context.call("c", "huge", {}))
        return "done"

    async with fleet_on(settings) as fleet:
        await fleet.tools(huge)
        await fleet.worker(doing)
        await fleet.put("j", ready_of("1"))
        await fleet.done("j", "1")
    assert outcomes[0].code == "too_large"
    assert "limit of 8 MB" in outcomes[0].message


async def test_missing_and_damaged_content_says_so(settings: Settings, tmp_path: Path) -> None:
    async with fleet_on(settings) as fleet:
        store = JobBlobs(fleet.bus, DEFAULT_TENANT, "j")
        blob = await store.put_bytes(content(MB))
        file = BlobFile(blob, store)
        assert await Blobs(fleet.bus, MB).collect(DEFAULT_TENANT, "j") == 1
        with pytest.raises(NotFoundError, match="is not in the store"):
            await file.save_to(tmp_path / "x")
        other = await store.put_bytes(content(MB + 1))
        wrong = msgspec.structs.replace(other, sha256="b" * 64)
        with pytest.raises(NotFoundError):
            await BlobFile(wrong, store).read()
        assert {path.name async for path in anyio.Path(tmp_path).iterdir()} == {"nats"}


async def test_an_upload_survives_a_killed_server(
    settings: Settings, server: NatsServer, tmp_path: Path
) -> None:
    report = tmp_path / "report"
    report.write_bytes(content(7 * MB))
    async with fleet_on(settings) as fleet:
        await fleet.coordinator()
        async with Client.connect(settings=settings.bus) as client:
            sent = 0
            publish = client._bus.publish

            async def counted(subject: str, data: bytes, **fields: Any) -> int:
                nonlocal sent
                sent += 1
                if sent == 10:
                    await server.kill()
                    await server.start()
                return await publish(subject, data, **fields)

            client._bus.publish = counted  # type: ignore[method-assign]
            with anyio.fail_after(60):
                job = await client.submit("x", inputs={"report": report})
            submitted = await submitted_of(fleet, job.id)
            file = job.file(submitted.job.inputs["report"])
            await file.save_to(tmp_path / "back")
            assert await anyio.Path(tmp_path / "back").read_bytes() == content(7 * MB)


async def submitted_of(fleet: Fleet, job: str) -> Submitted:
    fact = await until(lambda: fleet.find(job, "submitted"), f"job {job} is admitted")
    assert isinstance(fact, Submitted)
    return fact


def ready_of(name: str) -> Ready:
    return Ready(
        lane="executor", priority="normal", task=task(name), goal="the goal", max_attempts=3
    )
