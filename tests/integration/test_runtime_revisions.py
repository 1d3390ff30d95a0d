"""Plans on a real bus that are revised, nested, done for lists, given, and reviewed."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import anyio
import msgspec
import pytest

from galerne.agent import TaskContext
from galerne.client import Client
from galerne.errors import PermanentError
from galerne.messages.chat import ChatRequest
from galerne.messages.facts import Asked, Done, PlanEnded, Planned, Ready
from galerne.messages.plan import DROPPED, Failed, Succeeded
from galerne.settings import Settings
from galerne_agents.planner import PlannerAgent
from galerne_agents.synthesizer import SynthesizerAgent
from integration.fleet import Fleet, Member, ScriptedModel, eventually, fleet_on, task, until

pytestmark = pytest.mark.anyio

Doing = Callable[[TaskContext], Awaitable[Any]]
Text = str | Callable[[], Awaitable[str]]


class Author(ScriptedModel):
    """The planner's model: what it writes for a first plan, a nested one, a revision, an answer.

    Of several texts one after the other, and the last one from then on.
    """

    def __init__(self, **texts: Text | Sequence[Text]) -> None:
        super().__init__(self._write)
        self.asked: list[str] = []
        self._texts = {
            occasion: (text,) if isinstance(text, str) or callable(text) else tuple(text)
            for occasion, text in texts.items()
        }

    async def _write(self, request: ChatRequest) -> str:
        occasion = self._occasion(request)
        self.asked.append(occasion)
        texts = self._texts[occasion]
        one = texts[min(self.asked.count(occasion), len(texts)) - 1]
        return await one() if callable(one) else one

    def _occasion(self, request: ChatRequest) -> str:
        system, user = request.messages[0].content, request.messages[1].content
        if system.startswith("You write the final answer"):
            return "answer"
        if "# Plan so far" in user:
            return "revision"
        return "nested" if "# Goal\na part" in user else "plan"


def lines(*tasks: Mapping[str, Any]) -> str:
    return "".join(f"{json.dumps(one)}\n" for one in tasks)


def with_revisions(settings: Settings, revisions: int = 3) -> Settings:
    coordinator = msgspec.structs.replace(settings.coordinator, revisions=revisions)
    return msgspec.structs.replace(settings, coordinator=coordinator)


async def begun(fleet: Fleet, author: Author, doing: Doing, **job: Any) -> Member:
    await fleet.coordinator()
    planner = await fleet.worker(
        {"plan": PlannerAgent(), "answer": SynthesizerAgent()}, author, lane="planner"
    )
    await fleet.worker(doing)
    await fleet.submit("job", **job)
    return planner


async def result(fleet: Fleet) -> Any:
    end = await fleet.end("job")
    assert end.status == "succeeded", end.error
    return end.result


async def names(fleet: Fleet, kind: type[Any]) -> list[str]:
    return [one.name for one in await fleet.facts_of("job") if isinstance(one.fact, kind)]


def agent_line(task: str, *needs: str, **more: Any) -> dict[str, Any]:
    return {"id": task, "instruction": f"do {task}", "needs": list(needs), **more}


async def saying(context: TaskContext) -> Any:
    """`<task>` and what it was given; tasks called broken fail."""
    if "broken" in context.ready.task.instruction:
        raise PermanentError("no route to the host")
    return f"{context.ready.task.id} of {json.dumps(context.ready.inputs)}"


BROKEN: list[dict[str, Any]] = [
    agent_line("1"),
    {"id": "2", "instruction": "broken", "needs": []},
    agent_line("3", "1", "2"),
]
ANOTHER_WAY = {"id": "2", "instruction": "another way"}


async def test_a_failure_is_mended_and_nothing_finished_is_done_again(settings: Settings) -> None:
    author = Author(plan=lines(*BROKEN), revision=lines(ANOTHER_WAY), answer="all [3]")
    async with fleet_on(with_revisions(settings)) as fleet:
        await begun(fleet, author, saying)
        assert await result(fleet) == "all [3]"
        ready = await names(fleet, Ready)
        assert sorted(name.rsplit(".", 1)[1] for name in ready) == [
            "1", "2", "2--r2", "3", "answer", "plan-1", "plan-2"
        ]  # fmt: skip
        three = await fleet.done("job", "3")
        assert isinstance(three.outcome, Succeeded)
        assert '"2": "2--r2 of {}"' in three.outcome.value
        assert author.asked == ["plan", "revision", "answer"]


async def test_what_is_dropped_is_stopped_where_it_runs_and_taken_from_the_queue(
    settings: Settings,
) -> None:
    began, stopped = anyio.Event(), anyio.Event()

    async def doing(context: TaskContext) -> Any:
        if context.ready.task.id != "4":
            await began.wait()
            return await saying(context)
        began.set()
        try:
            await anyio.sleep_forever()
        finally:
            stopped.set()

    author = Author(
        plan=lines(*BROKEN, agent_line("4")), revision='{"drop": ["4", "2"]}', answer="so"
    )
    async with fleet_on(with_revisions(settings)) as fleet:
        await begun(fleet, author, doing)
        assert await result(fleet) == "so"
        with anyio.fail_after(20):
            await stopped.wait()
        dropped = await fleet.done("job", "4")
        assert isinstance(dropped.outcome, Failed)
        assert dropped.outcome.code == DROPPED
        await fleet.emptied("TASKS", "executor-normal-default")


async def test_a_planner_killed_in_a_revision_goes_on_with_the_same_one(
    settings: Settings,
) -> None:
    new = [agent_line("5"), ANOTHER_WAY, agent_line("6", "5")]
    reached = anyio.Event()

    async def half() -> str:
        reached.set()
        await anyio.sleep_forever()
        return ""

    class Streaming(Author):
        async def ask(self, request: ChatRequest, **options: Any) -> Any:
            on_text = options.get("on_text")
            if self._occasion(request) == "revision" and on_text is not None:
                on_text(lines(*new[:2]))
            return await super().ask(request, **options)

    dying = Streaming(plan=lines(*BROKEN), revision=half, answer="never")
    author = Author(plan="never", revision=lines(*new), answer="so")
    async with fleet_on(with_revisions(settings)) as fleet:
        planner = await begun(fleet, dying, saying)
        with anyio.fail_after(20):
            await reached.wait()
        await until(lambda: fleet.find("job", "plan.2.2"), "two tasks of the revision are written")
        await planner.kill()
        await fleet.worker(
            {"plan": PlannerAgent(), "answer": SynthesizerAgent()}, author, lane="planner"
        )
        assert await result(fleet) == "so"
        planned = [
            record.fact.task.id
            for record in await fleet.facts_of("job")
            if isinstance(record.fact, Planned) and record.fact.revision == 2
        ]
        assert planned == ["5", "2--r2", "6"]


async def test_an_answer_that_lacks_something_gets_it(settings: Settings) -> None:
    author = Author(
        plan=lines(agent_line("1")),
        revision=lines(agent_line("2")),
        answer=['{"missing": "nobody counted b.txt"}', "both [1][2], and no [9]"],
    )
    async with fleet_on(with_revisions(settings)) as fleet:
        await begun(fleet, author, saying)
        assert await result(fleet) == "both [1][2], and no"
        assert author.asked == ["plan", "answer", "revision", "answer"]
        ready = await fleet.find("job", "ready.planner.normal.plan-2")
        assert isinstance(ready, Ready)
        assert ready.missing == "nobody counted b.txt"


async def test_an_answer_fills_the_jobs_schema_or_is_asked_again(settings: Settings) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    author = Author(plan=lines(agent_line("1")), answer=["seven", '{"n": 7}'])
    async with fleet_on(settings) as fleet:
        await begun(fleet, author, saying, output=schema)
        assert await result(fleet) == {"n": 7}


async def test_a_list_and_a_nested_plan(settings: Settings) -> None:
    async def doing(context: TaskContext) -> Any:
        ready = context.ready
        if ready.task.id == "1":
            return ["a", "b", "c"]
        return f"{ready.task.id}:{ready.inputs.get('item', '')}"

    author = Author(
        plan=lines(
            agent_line("1", output={"type": "array"}),
            agent_line("2", foreach={"$ref": "1"}),
            {"id": "3", "kind": "plan", "instruction": "a part", "needs": ["2"]},
        ),
        nested=lines(agent_line("1", "given-2"), agent_line("2", "1")),
        answer="so",
    )
    async with fleet_on(settings) as fleet:
        await begun(fleet, author, doing)
        assert await result(fleet) == "so"
        two, three = await fleet.done("job", "2"), await fleet.done("job", "3")
        assert two.outcome == Succeeded(["2--0:a", "2--1:b", "2--2:c"])
        assert three.outcome == Succeeded("3--2:")
        assert await names(fleet, PlanEnded) == ["plan.1.end", "nested.3.end"]


async def test_a_given_plan_asks_no_planner(settings: Settings) -> None:
    author = Author(answer="so")
    plan = (task("1"), task("2", "1"))
    async with fleet_on(settings) as fleet:
        await begun(fleet, author, saying, plan=plan)
        assert await result(fleet) == "so"
        assert author.asked == ["answer"]


async def test_a_bad_plan_is_refused_where_its_user_looks(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        await begun(fleet, Author(), saying, plan=(task("1", "9"),))
        end = await fleet.end("job")
        assert (end.status, end.error) == ("failed", "task 1 needs task '9', which is not there")


@pytest.mark.parametrize("how", ["approve", "edit", "deny"])
async def test_a_plan_waits_for_its_review(settings: Settings, how: str) -> None:
    author = Author(plan=lines(agent_line("1"), agent_line("2")), answer="so")
    async with (
        fleet_on(settings) as fleet,
        Client.connect(settings=settings.bus) as client,
    ):
        await begun(fleet, author, saying, review=True)
        job = client.job("job")
        asked = await fleet.asked("job", "plan-1", 0)
        assert [one["id"] for one in (asked.arguments or {})["tasks"]] == ["1", "2"]
        assert not [name for name in await names(fleet, Ready) if "executor" in name]
        match how:
            case "approve":
                await job.review(by="ann")
            case "edit":
                await job.review([{"id": "7", "instruction": "only this"}], by="ann")
            case _:
                await job.deny("plan-1", "too dear", by="ann")
        end = await fleet.end("job")
        done = [name for name in await names(fleet, Done) if name[5:].isdecimal()]
        if how == "deny":
            assert (end.error, done) == ("ann refused the plan: too dear", [])
        else:
            assert end.status == "succeeded"
            assert done == (["done.7"] if how == "edit" else ["done.1", "done.2"])


async def test_a_coordinator_killed_at_any_time_changes_nothing(settings: Settings) -> None:
    author = Author(
        plan=lines(agent_line("1", foreach=["a", "b"]), BROKEN[1]),
        revision=lines(ANOTHER_WAY),
        answer="so",
    )
    async with fleet_on(with_revisions(settings)) as fleet:
        await begun(fleet, author, saying)
        for name in ("done.plan-1", "done.2", "plan.2.1"):
            await until(lambda name=name: fleet.find("job", name), name)  # type: ignore[misc]
            await fleet.kill("coordinator")
            await fleet.coordinator()
        assert await result(fleet) == "so"
        done = await names(fleet, Done)
        assert len(done) == len(set(done))
        assert author.asked.count("revision") == 1
        await eventually(lambda: len(fleet.living("coordinator")) == 1, "one coordinator lives")
        assert not await names(fleet, Asked)
