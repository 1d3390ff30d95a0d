"""`galerne.run` and a fleet on NATS decide the same of the same goals, over HTTP to the stand-in.

What is compared are the decided facts, without times: how each task begins, with which inputs, in
which lane; what is settled; how the job ends. Of tasks that run side by side the order is chance,
so the order is compared where every task waits for the one before.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from galerne import Budget, OpenQuestion, RunFailedError, run
from galerne.core.decisions import comparable, is_decision
from galerne.messages.facts import AnyFact, Asked, Ended
from galerne.messages.subjects import fact_name
from galerne.models.standin import StandIn, StandInSettings
from galerne.runtime.roles import ROLES, serve
from galerne.settings import RoleSettings, Settings, ToolSettings
from integration.fleet import PATIENCE, Fleet, fleet_on, until

pytestmark = pytest.mark.anyio

FILES = {
    "notes.txt": "the cat sat on the mat\nanother line\n",
    "more.txt": "one two three four five six seven eight nine ten eleven\n",
    "few.txt": "just three words\n",
}
CHAINS = [
    "Count the words in notes.txt",
    "Find the lines with cat in notes.txt",
    "Compute 19 * 23",
    "Count the words in missing.txt",
    "Sing a song about the sea",
]
GRAPHS = [
    "Count the words in notes.txt and in more.txt, then say which is longer",
    "Count the words in notes.txt, in more.txt and in few.txt, then say which is the longest",
    "Compute 19 * 23, compute 6 * 7, then say which is larger",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


class Both:
    """A fleet with all its roles, and the settings by which a run asks the same models."""

    def __init__(self, fleet: Fleet, settings: Settings) -> None:
        self._fleet = fleet
        self._settings = settings
        self._count = 0

    async def in_fleet(self, goal: str, *, leave: bool = False, **fields: Any) -> list[AnyFact]:
        """The decided facts of a job, in the order of its log."""
        self._count += 1
        job = f"job-{self._count}"
        await self._fleet.submit(job, goal, **fields)
        if leave:
            await self._give_leave(job)
        await self._fleet.end(job)
        records = await self._fleet.facts_of(job)
        facts = [record.fact for record in records if record.fact is not None]
        return [comparable(fact) for fact in facts if is_decision(fact)]

    async def _give_leave(self, job: str) -> None:
        async def asked() -> Asked | None:
            records = await self._fleet.facts_of(job)
            return next((one.fact for one in records if isinstance(one.fact, Asked)), None)

        ask = await until(asked, f"{job} asks")
        await self._fleet.decide(job, ask.task, "approved", n=ask.n, hash=ask.hash)

    async def in_process(self, goal: str, **options: Any) -> list[AnyFact]:
        facts: list[AnyFact] = []
        given: dict[str, Any] = {"settings": self._settings, "on_event": facts.append, **options}
        with anyio.fail_after(PATIENCE):
            try:
                await run(goal, **given)
            except RunFailedError:
                assert isinstance(facts[-1], Ended)
        return [comparable(fact) for fact in facts if is_decision(fact)]


@asynccontextmanager
async def both(settings: Settings, folder: Path) -> AsyncGenerator[Both]:
    stop = anyio.Event()
    async with StandIn(StandInSettings()) as model, fleet_on(settings) as fleet:
        role = RoleSettings(endpoint=model.url)
        tools = ToolSettings(root=str(folder), heartbeat=0.1)
        own: Settings = msgspec.structs.replace(settings, planner=role, executor=role, tools=tools)
        async with anyio.create_task_group() as tasks:
            for name in ROLES:
                started = anyio.Event()
                tasks.start_soon(serve, name, own, stop, started)
                with anyio.fail_after(PATIENCE):
                    await started.wait()
            yield Both(fleet, own)
            stop.set()


def by_name(facts: Sequence[AnyFact]) -> list[AnyFact]:
    return sorted(facts, key=fact_name)


async def test_where_each_task_waits_for_the_one_before_the_sequence_is_the_same(
    settings: Settings, folder: Path
) -> None:
    async with both(settings, folder) as two:
        for goal in CHAINS:
            local = await two.in_process(goal)
            assert local == await two.in_fleet(goal), goal
            assert isinstance(local[-1], Ended)
            assert local[-1].result is not None or local[-1].status == "failed"


async def test_side_by_side_the_decisions_are_the_same(settings: Settings, folder: Path) -> None:
    async with both(settings, folder) as two:
        for goal in GRAPHS:
            local = await two.in_process(goal)
            assert by_name(local) == by_name(await two.in_fleet(goal)), goal
            assert len(local) > 5, "plan, tasks, answer, end"
            assert isinstance(local[-1], Ended)
            assert local[-1].status == "succeeded"


async def test_leave_budgets_and_deadlines_are_decided_the_same(
    settings: Settings, folder: Path
) -> None:
    async def agrees(_: OpenQuestion) -> bool:
        return True

    goal = CHAINS[0]
    async with both(settings, folder) as two:
        approve = ("text_stats",)
        local = await two.in_process(goal, approve=approve, on_ask=agrees)
        assert local == await two.in_fleet(goal, approve=approve, leave=True)
        assert [fact_name(fact) for fact in local].count("resume.executor.normal.1.1") == 1
        for budget in (Budget(calls=1), Budget(calls=2), Budget(tokens=1), Budget(usd=1.0)):
            local = await two.in_process(goal, budget=budget)
            assert local == await two.in_fleet(goal, budget=budget), budget
        assert isinstance(local[-1], Ended)
        assert local[-1].status == "succeeded"
