"""Approvals and questions: a task waits for a person without a place, through every restart."""

import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import msgspec
import pytest

from galerne.agent import TaskContext
from galerne.bus.server import NatsServer
from galerne.messages.facts import Asked, Decided
from galerne.settings import Settings
from galerne.tools import AnyTool, tool
from integration.fleet import (
    Doing,
    Fleet,
    Member,
    agent,
    calling,
    eventually,
    fleet_on,
    planning,
    task,
    until,
)

pytestmark = pytest.mark.anyio


class Folder:
    """A tool that writes, one that reads, and what was written."""

    def __init__(self) -> None:
        self.written: list[str] = []

    def tools(self, approve: bool | Callable[..., bool | str] = False) -> tuple[AnyTool, ...]:
        @tool(effect="once", approve=approve)
        async def write(text: str) -> str:
            """Write."""
            self.written.append(text)
            return f"wrote {text}"

        @tool
        async def read() -> str:
            """Read."""
            return " ".join(self.written)

        return write, read


def with_ask_timeout(settings: Settings, seconds: float) -> Settings:
    worker = msgspec.structs.replace(settings.worker, ask_timeout=seconds)
    return msgspec.structs.replace(settings, worker=worker)


@asynccontextmanager
async def asking_fleet(
    settings: Settings, doing: Doing, *tools: AnyTool, plan: Any = None, **job: Any
) -> AsyncGenerator[Fleet]:
    """One of each, and a submitted job of one task."""
    async with fleet_on(settings) as fleet:
        await fleet.coordinator()
        await fleet.planner(planning(plan or task("1")))
        await fleet.worker(doing)
        await fleet.tools(*tools)
        await fleet.submit("job", **job)
        yield fleet


def long_texts(text: str) -> str | bool:
    return f"{len(text)} characters" if len(text) > 3 else False


def greetings(text: str) -> bool:
    return text == "hello"


# who wants leave


@pytest.mark.parametrize(
    ("approve", "job", "question"),
    [
        (True, {}, "May write be called with these arguments?"),
        (greetings, {}, "May write be called with these arguments?"),
        (long_texts, {}, "5 characters"),
        (False, {"approve": ("write",)}, "May write be called with these arguments?"),
        (False, {"approve": ("*",)}, "May write be called with these arguments?"),
    ],
    ids=["tool", "predicate", "reason", "job", "every effect"],
)
async def test_leave_is_asked_and_given(
    settings: Settings, approve: Any, job: dict[str, Any], question: str
) -> None:
    folder = Folder()
    tools = folder.tools(approve)
    async with asking_fleet(settings, calling("write", text="hello"), *tools, **job) as fleet:
        ask = await fleet.parked("job", "1")
        assert (ask.what, ask.tool, ask.arguments) == ("approval", "write", {"text": "hello"})
        assert ask.question == question
        assert not folder.written
        await fleet.decide("job", "1", "approved", hash=ask.hash)
        ended = await fleet.end("job")
        assert (ended.status, ended.result) == ("succeeded", {"1": "wrote hello"})
        assert folder.written == ["hello"]


@pytest.mark.parametrize(
    ("approve", "job"),
    [(long_texts, {}), (greetings, {}), (False, {"approve": ("read",)})],
    ids=["text", "no", "another tool"],
)
async def test_leave_is_not_asked_where_nobody_wants_it(
    settings: Settings, approve: Any, job: dict[str, Any]
) -> None:
    folder = Folder()
    tools = folder.tools(approve)
    async with asking_fleet(settings, calling("write", text="yes"), *tools, **job) as fleet:
        assert (await fleet.end("job")).result == {"1": "wrote yes"}
        assert await fleet.find("job", "ask.1.1.1") is None


async def test_every_effect_is_not_every_tool(settings: Settings) -> None:
    tools = Folder().tools()
    async with asking_fleet(settings, calling("read"), *tools, approve=("*",)) as fleet:
        assert (await fleet.end("job")).result == {"1": ""}


async def test_a_predicate_that_fails_asks(settings: Settings) -> None:
    def broken(text: str) -> bool:
        raise KeyError(text)

    folder = Folder()
    async with asking_fleet(settings, calling("write", text="x"), *folder.tools(broken)) as fleet:
        assert "KeyError" in (await fleet.parked("job", "1")).question
        assert not folder.written


async def test_a_task_waits_for_leave_before_it_starts(settings: Settings) -> None:
    folder = Folder()
    plan = task("1", approve=True)
    doing = calling("write", text="x")
    async with asking_fleet(settings, doing, *folder.tools(), plan=plan) as fleet:
        ask = await fleet.asked("job", "1", n=0)
        assert (ask.what, ask.arguments) == ("approval", {"instruction": "do 1"})
        assert await fleet.find("job", "ready.executor.normal.1") is None
        await fleet.decide("job", "1", "approved", n=0, hash=ask.hash)
        assert (await fleet.end("job")).result == {"1": "wrote x"}


async def test_a_task_that_may_not_start_fails_its_job(settings: Settings) -> None:
    folder = Folder()
    doing = calling("write", text="x")
    plan = task("1", approve=True)
    async with asking_fleet(settings, doing, *folder.tools(), plan=plan) as fleet:
        await fleet.asked("job", "1", n=0)
        await fleet.decide("job", "1", "denied", n=0, why="not on Sundays")
        ended = await fleet.end("job")
        assert (ended.status, ended.error) == (
            "failed",
            "task 1 failed: ann said no: not on Sundays",
        )
        assert not folder.written


async def test_the_leave_of_a_tool_task_is_for_its_call_too(settings: Settings) -> None:
    """One question for one thing: who let this task start has seen its arguments."""
    folder = Folder()
    plan = task("1", kind="tool", tool="write", args={"text": "hi"}, approve=True)
    async with fleet_on(settings) as fleet:
        await fleet.coordinator()
        await fleet.planner(planning(plan))
        await fleet.worker({"tool": agent(calling("write", text="hi"), kinds=("tool",))})
        await fleet.tools(*folder.tools(approve=True))
        await fleet.submit("job")
        ask = await fleet.asked("job", "1", n=0)
        assert (ask.tool, ask.arguments) == ("write", {"text": "hi"})
        await fleet.decide("job", "1", "approved", n=0, hash=ask.hash)
        assert (await fleet.end("job")).result == {"1": "wrote hi"}
        assert await fleet.find("job", "ask.1.1.1") is None


# what a person may say


async def test_an_approval_of_other_arguments_is_refused(settings: Settings) -> None:
    folder = Folder()
    doing = calling("write", text="x")
    async with asking_fleet(settings, doing, *folder.tools(approve=True)) as fleet:
        ask = await fleet.parked("job", "1")
        await fleet.decide("job", "1", "approved", hash="0" * 64)
        await fleet.decide("job", "1", "approved")
        kept = await until(lambda: _quarantined(fleet, 2), "both are put aside")
        assert all("other arguments" in one.error for one in kept)
        assert await fleet.find("job", "decided.1.1.1") is None
        assert not folder.written
        await fleet.decide("job", "1", "approved", hash=ask.hash)
        assert (await fleet.end("job")).status == "succeeded"


async def _quarantined(fleet: Fleet, count: int) -> Any:
    found = await fleet.quarantined()
    return found if len(found) >= count else None


async def test_a_call_with_changed_arguments_is_asked_about_anew(settings: Settings) -> None:
    """A leave is for its arguments: an agent that wants others has to ask again."""
    texts = iter(("first", "second", "second"))

    async def fickle(context: TaskContext) -> Any:
        return await calling("write", text=next(texts))(context)

    folder = Folder()
    async with asking_fleet(settings, fickle, *folder.tools(approve=True)) as fleet:
        ask = await fleet.parked("job", "1")
        await fleet.decide("job", "1", "approved", hash=ask.hash)
        second = await fleet.parked("job", "1", round_=2)
        assert second.arguments == {"text": "second"}
        assert not folder.written
        await fleet.decide("job", "1", "approved", round_=2, hash=second.hash)
        assert (await fleet.end("job")).result == {"1": "wrote second"}
        assert folder.written == ["second"]


async def test_a_refusal_is_for_the_model_to_read(settings: Settings) -> None:
    folder = Folder()
    doing = calling("write", text="x")
    async with asking_fleet(settings, doing, *folder.tools(approve=True)) as fleet:
        await fleet.parked("job", "1")
        await fleet.decide("job", "1", "denied", why="too dear")
        ended = await fleet.end("job")
        assert ended.result == {"1": "refused: a person refused this call of write: too dear"}
        assert not folder.written


async def test_the_first_of_two_words_stands(settings: Settings) -> None:
    folder = Folder()
    doing = calling("write", text="x")
    async with asking_fleet(settings, doing, *folder.tools(approve=True)) as fleet:
        await fleet.coordinator()
        ask = await fleet.parked("job", "1")
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(_decide, fleet, "denied", None)
                tasks.start_soon(_decide, fleet, "approved", ask.hash)
        ended = await fleet.end("job")
        await fleet.emptied("SUBMIT", "commands")
        decided = await fleet.find("job", "decided.1.1.1")
        assert isinstance(decided, Decided)
        assert folder.written == (["x"] if decided.verdict == "approved" else [])
        assert (ended.result == {"1": "wrote x"}) == (decided.verdict == "approved")


async def _decide(fleet: Fleet, verdict: Any, hash_: str | None) -> None:
    await fleet.decide("job", "1", verdict, hash=hash_)


async def test_a_word_about_nothing_is_put_aside(settings: Settings) -> None:
    folder = Folder()
    doing = calling("write", text="x")
    async with asking_fleet(settings, doing, *folder.tools(approve=True)) as fleet:
        ask = await fleet.parked("job", "1")
        await fleet.decide("job", "1", "approved", n=7, hash=ask.hash)
        await fleet.decide("job", "2", "approved", hash=ask.hash)
        await until(lambda: _quarantined(fleet, 2), "both are put aside")
        assert not folder.written


# waiting


async def test_waiting_holds_no_place_and_no_attempt(settings: Settings) -> None:
    folder = Folder()
    worker = msgspec.structs.replace(settings.worker, concurrency=1, max_attempts=1)
    narrow = msgspec.structs.replace(settings, worker=worker)
    doing = calling("write", text="x")
    async with asking_fleet(narrow, doing, *folder.tools(approve=long_texts)) as fleet:
        await fleet.submit("other", approve=("write",))
        ask = await fleet.parked("other", "1")
        assert (await fleet.end("job")).status == "succeeded"
        await fleet.submit("third")
        assert (await fleet.end("third")).status == "succeeded"
        await fleet.decide("other", "1", "approved", hash=ask.hash)
        assert (await fleet.end("other")).status == "succeeded"
        assert folder.written == ["x"] * 3


async def test_waiting_outlives_everything(server: NatsServer, settings: Settings) -> None:
    folder = Folder()
    doing = calling("write", text="x")
    tools = folder.tools(approve=True)
    async with asking_fleet(settings, doing, *tools) as fleet:
        ask = await fleet.parked("job", "1")
        await fleet.kill()
        await server.kill()
        await server.start()
        await until(lambda: fleet.find("job", "ask.1.1.1"), "the question is there")
        await fleet.decide("job", "1", "approved", hash=ask.hash)
        await fleet.coordinator()
        await fleet.planner(planning(task("1")))
        await fleet.worker(doing)
        await fleet.tools(*tools)
        ended = await fleet.end("job")
        assert (ended.status, ended.result) == ("succeeded", {"1": "wrote x"})
        assert folder.written == ["x"]


async def test_a_coordinator_that_dies_at_the_decision_changes_nothing(
    settings: Settings,
) -> None:
    folder = Folder()
    doing = calling("write", text="x")
    async with asking_fleet(settings, doing, *folder.tools(approve=True)) as fleet:
        ask = await fleet.parked("job", "1")
        await fleet.kill("coordinator")
        await fleet.put(  # as if it died between the decision and the task's new message
            "job", Decided(task=ask.task, n=1, verdict="approved", at=1.0)
        )
        await fleet.coordinator()
        assert (await fleet.end("job")).status == "succeeded"
        assert folder.written == ["x"]


async def test_two_questions_one_after_the_other(settings: Settings) -> None:
    async def twice(context: TaskContext) -> Any:
        values: list[str] = []
        for n in (1, 2):
            outcome = await context.call(f"call-{n}", "write", {"text": str(n)})
            values.append(outcome.value)  # type: ignore[union-attr]
        return values

    folder = Folder()
    async with asking_fleet(settings, twice, *folder.tools(approve=True)) as fleet:
        for n in (1, 2):
            ask = await fleet.parked("job", "1", n=n)
            await fleet.decide("job", "1", "approved", n=n, hash=ask.hash)
        assert (await fleet.end("job")).result == {"1": ["wrote 1", "wrote 2"]}
        assert folder.written == ["1", "2"]


def before_letting_go(worker: Member, happens: Callable[[], Awaitable[object]]) -> None:
    """Something `happens` when the worker is about to give up the lease of a parked task."""
    publish = worker.bus.publish

    async def delayed(subject: str, data: bytes, **options: Any) -> int:
        if ".run." in subject and b'"until":0' in data:
            await happens()
        return await publish(subject, data, **options)

    worker.bus.publish = delayed  # type: ignore[method-assign]


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_word_before_the_task_has_let_go_is_not_lost(
    settings: Settings, workers: int
) -> None:
    """The answer queues the task while its last attempt is still leaving."""
    folder = Folder()
    doing = calling("write", text="x")
    async with fleet_on(settings) as fleet:
        await fleet.coordinator()
        await fleet.planner(planning(task("1")))
        first = await fleet.worker(doing)
        await fleet.tools(*folder.tools(approve=True))
        let_go = anyio.Event()
        before_letting_go(first, let_go.wait)
        await fleet.submit("job")
        ask = await fleet.asked("job", "1")
        for _ in range(workers - 1):
            await fleet.worker(doing)
        await fleet.decide("job", "1", "approved", hash=ask.hash)
        await until(lambda: fleet.find("job", "resume.executor.normal.1.1"), "it is queued anew")

        async def delivered() -> bool:
            name = fleet.bus.subjects.stream("TASKS")
            info = await fleet.bus.api(f"CONSUMER.INFO.{name}.executor-normal-default")
            return int(info["delivered"]["consumer_seq"]) > 1

        await until(delivered, "a worker has seen it")
        let_go.set()
        assert (await fleet.end("job")).result == {"1": "wrote x"}
        assert folder.written == ["x"]
        await fleet.emptied("TASKS", "executor-normal-default")


async def test_a_worker_that_dies_between_question_and_parking(settings: Settings) -> None:
    folder = Folder()
    doing = calling("write", text="x")
    async with fleet_on(settings) as fleet:
        await fleet.coordinator()
        await fleet.planner(planning(task("1")))
        first = await fleet.worker(doing)
        await fleet.tools(*folder.tools(approve=True))
        dying = anyio.Event()

        async def dies() -> None:
            dying.set()
            await anyio.sleep_forever()

        before_letting_go(first, dies)
        await fleet.submit("job")
        ask = await fleet.asked("job", "1")
        with anyio.fail_after(20):
            await dying.wait()
        await first.kill()
        await fleet.decide("job", "1", "approved", hash=ask.hash)
        await fleet.worker(doing)
        assert (await fleet.end("job")).result == {"1": "wrote x"}
        assert folder.written == ["x"]
        asked = [one for one in await fleet.facts_of("job") if isinstance(one.fact, Asked)]
        assert len(asked) == 1


async def test_an_unreadable_word_is_a_no(settings: Settings) -> None:
    """The coordinator and the worker read the same in it, so nobody waits for another."""
    folder = Folder()
    doing = calling("write", text="x")
    async with asking_fleet(settings, doing, *folder.tools(approve=True)) as fleet:
        await fleet.parked("job", "1")
        subject = fleet.bus.subjects.job(fleet.address("job"), "decided.1.1.1")
        await fleet.bus.publish(subject, b"\xff{")
        ended = await fleet.end("job")
        assert ended.status == "succeeded"
        assert "refused: " in ended.result["1"]
        assert not folder.written


# no word at all


async def test_without_a_word_in_time_the_answer_is_no(settings: Settings) -> None:
    folder = Folder()
    hasty = with_ask_timeout(settings, 0.4)
    doing = calling("write", text="x")
    async with asking_fleet(hasty, doing, *folder.tools(approve=True)) as fleet:
        assert (await fleet.end("job")).result == {
            "1": "refused: nobody gave leave to call write in time"
        }
        decided = await fleet.find("job", "decided.1.1.1")
        assert isinstance(decided, Decided)
        assert decided.verdict == "expired"
        assert not folder.written


async def test_time_passes_while_the_coordinator_is_dead(settings: Settings) -> None:
    folder = Folder()
    hasty = with_ask_timeout(settings, 1.0)
    doing = calling("write", text="x")
    async with asking_fleet(hasty, doing, *folder.tools(approve=True)) as fleet:
        ask = await fleet.parked("job", "1")
        await fleet.kill("coordinator")
        until_then = ask.until or 0.0
        await eventually(lambda: time_is(until_then), "its time is over")
        assert await fleet.find("job", "decided.1.1.1") is None
        await fleet.coordinator()
        assert (await fleet.end("job")).status == "succeeded"
        decided = await fleet.find("job", "decided.1.1.1")
        assert isinstance(decided, Decided)
        assert decided.verdict == "expired"
        assert not folder.written


def time_is(at: float) -> bool:
    return time.time() > at


async def test_a_cancelled_job_asks_no_more(settings: Settings) -> None:
    folder = Folder()
    doing = calling("write", text="x")
    async with asking_fleet(settings, doing, *folder.tools(approve=True)) as fleet:
        ask = await fleet.parked("job", "1")
        await fleet.cancel("job")
        assert (await fleet.end("job")).status == "cancelled"
        await fleet.decide("job", "1", "approved", hash=ask.hash)
        await fleet.emptied("SUBMIT", "commands")
        assert await fleet.find("job", "decided.1.1.1") is None
        assert not folder.written


# tasks that are questions

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


async def test_an_ask_task_gives_a_typed_answer(settings: Settings) -> None:
    plan = task("1", kind="ask", output=CITY)
    async with asking_fleet(settings, calling("read"), plan=plan) as fleet:
        ask = await fleet.asked("job", "1", n=0)
        assert (ask.what, ask.question, ask.output) == ("question", "do 1", CITY)
        for wrong in ("Paris", {"city": 3}, {}, None):
            await fleet.decide("job", "1", "answered", n=0, value=wrong)
        await fleet.decide("job", "1", "approved", n=0)
        await until(lambda: _quarantined(fleet, 5), "each is put aside")
        assert await fleet.find("job", "decided.1.0.1") is None
        await fleet.decide("job", "1", "answered", n=0, value={"city": "Brest"})
        ended = await fleet.end("job")
        assert (ended.status, ended.result) == ("succeeded", {"1": {"city": "Brest"}})


async def test_an_answer_is_given_to_who_needs_it(settings: Settings) -> None:
    async def read(context: TaskContext) -> Any:
        return context.ready.inputs["1"]

    async with fleet_on(settings) as fleet:
        await fleet.coordinator()
        await fleet.planner(planning(task("1", kind="ask"), task("2", "1")))
        await fleet.worker(read)
        await fleet.submit("job")
        await fleet.asked("job", "1", n=0)
        await fleet.decide("job", "1", "answered", n=0, value=[1, 2])
        assert (await fleet.end("job")).result == {"1": [1, 2], "2": [1, 2]}


@pytest.mark.parametrize("coordinator_dies", [False, True])
async def test_an_ask_task_without_an_answer_fails(
    settings: Settings, coordinator_dies: bool
) -> None:
    plan = task("1", kind="ask", timeout=0.7)
    async with asking_fleet(settings, calling("read"), plan=plan) as fleet:
        ask = await fleet.asked("job", "1", n=0)
        if coordinator_dies:
            await fleet.kill("coordinator")
            await eventually(lambda: time_is(ask.until or 0.0), "its time is over")
            await fleet.coordinator()
        ended = await fleet.end("job")
        assert (ended.status, ended.error) == (
            "failed",
            "task 1 failed: nobody answered in time",
        )


async def test_an_ask_task_that_is_denied_fails(settings: Settings) -> None:
    async with asking_fleet(settings, calling("read"), plan=task("1", kind="ask")) as fleet:
        await fleet.asked("job", "1", n=0)
        await fleet.decide("job", "1", "denied", n=0, why="ask somebody else")
        ended = await fleet.end("job")
        assert ended.error == "task 1 failed: ann said no: ask somebody else"
