"""However a run is left, nothing of it goes on: a cancelled caller, a callback that raises."""

import asyncio
from typing import Any

import anyio
import pytest

from galerne import run, run_sync
from galerne.errors import PermanentError
from galerne.messages.chat import ChatReply, ChatRequest
from galerne.messages.facts import AnyFact, Done
from unit.local.scripted import (
    PATIENCE,
    SETTINGS,
    Scripted,
    agent_task,
    carry_out,
    executing,
    planning,
    says,
)

pytestmark = pytest.mark.anyio


class Hanging:
    """An executor's model that never answers; `begun` is set when it is asked the second time."""

    def __init__(self) -> None:
        self.begun = anyio.Event()
        self.stopped: list[str] = []
        self.model = executing(self._answer)

    async def _answer(self, task: str, _: ChatRequest) -> ChatReply:
        if len(self.model.requests) == 2:
            self.begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            self.stopped.append(task)
        raise AssertionError("it hangs for ever")


PLAN = (agent_task("1", "hang"), agent_task("2", "hang"))


async def test_a_cancelled_anyio_scope_stops_all_of_it() -> None:
    hanging = Hanging()
    with anyio.fail_after(PATIENCE), anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:

            async def carry_out() -> None:
                await run("g", planner=planning(*PLAN), executor=hanging.model, settings=SETTINGS)

            tasks.start_soon(carry_out)
            await hanging.begun.wait()
            scope.cancel()
    assert sorted(hanging.stopped) == ["1", "2"]
    assert hanging.model.now == 0


async def test_a_cancelled_asyncio_task_stops_all_of_it() -> None:
    hanging = Hanging()
    before = asyncio.all_tasks()
    running = asyncio.create_task(
        run("g", planner=planning(*PLAN), executor=hanging.model, settings=SETTINGS)
    )
    with anyio.fail_after(PATIENCE):
        await hanging.begun.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert sorted(hanging.stopped) == ["1", "2"]
    assert asyncio.all_tasks() == before


async def test_a_timeout_around_it_is_a_timeout() -> None:
    hanging = Hanging()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await run("g", planner=planning(*PLAN), executor=hanging.model, settings=SETTINGS)
    assert hanging.model.now == 0


@pytest.mark.parametrize("callback", ["on_event", "on_text"])
async def test_what_a_callback_raises_ends_the_run_and_is_raised(callback: str) -> None:
    def raises(*told: Any) -> None:
        if callback == "on_text" or isinstance(told[0], Done):
            raise LookupError("no such widget")

    hanging = Hanging()
    given: dict[str, Any] = {callback: raises}
    with pytest.raises(LookupError, match="no such widget"):
        await carry_out(planner=planning(*PLAN), executor=hanging.model, **given)
    assert hanging.model.now == 0


async def test_a_run_in_a_run_and_two_beside_each_other_know_nothing_of_each_other() -> None:
    async def inner(task: str, request: ChatRequest) -> ChatReply:
        plan = planning(agent_task("1", "inside"), answer=f"inner {task}")
        return says(
            (await run("inner", planner=plan, executor=executing(), settings=SETTINGS)).answer
        )

    answers: list[str] = []

    async def outer(name: str) -> None:
        plan = planning(agent_task("1", "outside"), answer=name)
        result = await run("outer", planner=plan, executor=executing(inner), settings=SETTINGS)
        answers.append(result.answer)
        assert result.tasks[1].result == "inner 1"

    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(outer, "a")
            tasks.start_soon(outer, "b")
    assert sorted(answers) == ["a", "b"]


async def test_in_a_running_loop_the_plain_form_says_what_to_write() -> None:
    with pytest.raises(PermanentError, match=r"await galerne\.run"):
        run_sync("g", planner=planning())


def test_a_script_runs_it_without_a_loop() -> None:
    planner: Scripted = planning(agent_task("1", "say"), answer="done")
    heard: list[AnyFact] = []
    result = run_sync("g", planner=planner, tools=[], settings=SETTINGS, on_event=heard.append)
    assert result.answer == "done"
    assert heard
