"""`galerne.run` over real HTTP: models from variables, a cancelled caller, loops of other kinds."""

import ast
import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import anyio
import pytest

from galerne import RunFailedError, UnavailableError, run
from galerne.messages.chat import ChatMessage, ChatReply, ChatRequest
from galerne.messages.facts import AnyFact, Claimed
from galerne.models.standin import Fault, StandIn, StandInSettings
from galerne.settings import RoleSettings, Settings, ToolSettings, WorkerSettings
from integration.fleet import PATIENCE, eventually

pytestmark = pytest.mark.anyio

GOAL = "Count the words in one.txt and in two.txt, then say which is longer"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "one.txt").write_text("just three words\n")
    (tmp_path / "two.txt").write_text("two words\n")
    monkeypatch.chdir(tmp_path)


class LeavingAfter:
    """A planner's model after whose plan the server of the others is gone."""

    def __init__(self, leave: Callable[[], Awaitable[None]]) -> None:
        self._leave = leave

    async def ask(
        self,
        request: ChatRequest,
        *,
        on_text: Callable[[str], None] | None = None,
        key: str | None = None,
    ) -> ChatReply:
        del request, key
        await self._leave()
        text = '{"id": "1", "kind": "agent", "instruction": "Count the words of one.txt."}'
        if on_text is not None:
            on_text(text)
        return ChatReply(ChatMessage("assistant", text), "scripted")


def at(model: StandIn) -> RoleSettings:
    return RoleSettings(endpoint=model.url)


async def test_models_come_from_variables_and_one_serves_both_roles(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with StandIn() as model:
        monkeypatch.setenv("GALERNE_PLANNER_ENDPOINT", model.url)
        with anyio.fail_after(PATIENCE):
            result = await run(GOAL)
        assert "one.txt is longer than two.txt: 3 words against 2." in result.answer
        roles = {entry.role for entry in model.ledger.entries}
        assert {"planner", "executor"} <= roles
        keys = {entry.key for entry in model.ledger.entries}
        assert f"{result.view.id}.plan-1.1" in keys


async def test_a_cancelled_run_breaks_its_requests_off_and_leaves_nothing() -> None:
    before = asyncio.all_tasks()
    slow = StandInSettings(faults=(Fault("slow", role="executor"),))
    async with StandIn(slow) as model:
        others = asyncio.all_tasks()
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as tasks:

                async def carry_out() -> None:
                    await run(GOAL, planner=at(model))

                def asked() -> bool:
                    begun = [one for one in model.ledger.entries if one.event == "started"]
                    return sum(one.role == "executor" for one in begun) == 2

                tasks.start_soon(carry_out)
                await eventually(asked, "both executors are asked")
                tasks.cancel_scope.cancel()

            def broken_off() -> bool:
                ended = [one for one in model.ledger.entries if one.event == "aborted"]
                return sum(one.role == "executor" for one in ended) == 2

            await eventually(broken_off, "the server has seen both connections close")

        def settled() -> bool:
            return asyncio.all_tasks() <= others

        await eventually(settled, "no task of the run is left")
    await eventually(lambda: asyncio.all_tasks() <= before, "nor of the server")


async def test_a_server_that_misbehaves_costs_time_and_no_answer() -> None:
    faults = StandInSettings(faults=(Fault("500", every=3), Fault("cut", every=4)))
    settings = Settings(
        worker=WorkerSettings(
            retry_away="0.01..0.05", retry_bad_answer="0.01..0.05", retry_other="0.01..0.05"
        )
    )
    async with StandIn(faults) as model:
        with anyio.fail_after(PATIENCE):
            result = await run(GOAL, planner=at(model), settings=settings)
    assert "one.txt is longer" in result.answer
    assert {entry.event for entry in model.ledger.entries} >= {"refused", "cut", "finished"}


async def test_an_endpoint_that_is_not_there_is_an_error_at_once() -> None:
    with pytest.raises(UnavailableError, match="nothing answers at"), anyio.fail_after(PATIENCE):
        await run(GOAL, planner="http://127.0.0.1:9")


async def test_a_server_that_goes_away_is_waited_for_within_the_time() -> None:
    settings = Settings(worker=WorkerSettings(retry_away="0.01..0.05"))
    gone: list[Claimed] = []
    async with AsyncExitStack() as stack:
        model = await stack.enter_async_context(StandIn())

        def hear(fact: AnyFact) -> None:
            if isinstance(fact, Claimed) and fact.task == "1" and fact.note:
                gone.append(fact)

        async def leave() -> None:
            await stack.aclose()

        with pytest.raises(RunFailedError, match="ran out of time"), anyio.fail_after(PATIENCE):
            await run(
                GOAL,
                planner=LeavingAfter(leave),
                executor=at(model),
                timeout=1.0,
                settings=settings,
                on_event=hear,
            )
    assert gone[0].excused == 1, "no attempt of the task is lost by that"


async def test_the_stand_in_leaves_with_the_run(tmp_path: Path) -> None:
    before = asyncio.all_tasks(), threading.active_count()
    with anyio.fail_after(PATIENCE):
        settings = Settings(tools=ToolSettings(root=str(tmp_path)))
        result = await run(GOAL, stand_in=True, settings=settings)
    assert result.answer.startswith("one.txt has 3 words.")
    await eventually(lambda: asyncio.all_tasks() <= before[0], "its tasks have ended")


async def test_a_notebook_awaits_it_at_the_top_level() -> None:
    """A cell is compiled like this and awaited in the loop that runs all the time."""
    cell = f"import galerne\nresult = await galerne.run({GOAL!r}, stand_in=True)\n"
    code = compile(cell, "cell", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    names: dict[str, Any] = {}
    with anyio.fail_after(PATIENCE):
        await eval(code, names)
        await eval(code, names)
    assert repr(names["result"]).startswith("<succeeded: 5 tasks, ")


SCRIPT = """
import sys
import galerne

result = galerne.run_sync({goal!r}, stand_in=True)
print(result.answer)
print("nats" in sys.modules)
"""
ON_UVLOOP = """
import uvloop
import galerne

print(uvloop.run(galerne.run({goal!r}, stand_in=True)).answer)
"""


def plain(script: str) -> str:
    """What a script says, in a process of its own in which every warning is an error."""
    done = subprocess.run(
        [sys.executable, "-c", script.format(goal=GOAL)],
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE,
        env={**os.environ, "PYTHONWARNINGS": "error"},
    )
    assert done.stderr == ""
    return done.stdout


def test_a_plain_script_needs_no_loop_and_no_bus() -> None:
    said = plain(SCRIPT)
    assert "one.txt is longer than two.txt: 3 words against 2." in said
    assert said.endswith("False\n"), "nothing of NATS is even imported"


@pytest.mark.skipif(find_spec("uvloop") is None, reason="uvloop is not installed")
def test_it_runs_on_uvloop() -> None:
    assert "one.txt is longer" in plain(ON_UVLOOP)
