"""What the types of `galerne.run` promise; nothing here runs, `make check` reads it."""

from pathlib import Path
from typing import Any, assert_type

import galerne
from galerne import Budget, OpenQuestion, RunFailedError, RunResult, Word, tool
from galerne.core.view import TaskView
from galerne.messages.facts import AnyFact, JobStatus
from galerne.messages.plan import Usage
from galerne.settings import RoleSettings
from galerne.tools import BlobFile


@tool(effect="once")
async def send(to: str) -> str:
    """Send a letter."""
    return to


def count(path: str) -> int:
    """Count something."""
    return len(path)


async def asks(question: OpenQuestion) -> Word | bool:
    return Word("denied", why=question.question) if question.tool else True


def hears(fact: AnyFact) -> None:
    del fact


def reads(task: str, piece: str) -> None:
    del task, piece


async def the_whole_of_it() -> None:
    try:
        result = await galerne.run(
            "goal",
            tools=[send, count, "read_file"],
            planner="mixtral@http://127.0.0.1:1/v1",
            executor=RoleSettings(endpoint="http://127.0.0.1:1"),
            inputs={"page": Path("page.txt"), "n": 1},
            budget=Budget(usd=1.0),
            timeout=60.0,
            approve=["*"],
            on_ask=asks,
            on_event=hears,
            on_text=reads,
        )
    except RunFailedError as error:
        assert_type(error.run, RunResult)
        return
    assert_type(result, RunResult)
    assert_type(result.answer, Any)
    assert_type(result.status, JobStatus)
    assert_type(result.tasks, tuple[TaskView, ...])
    assert_type(result.usage, Usage)
    assert_type(result.cost, float)
    assert_type(result.file(result.answer), BlobFile)


def in_a_script() -> None:
    assert_type(galerne.run_sync("goal", stand_in=True), RunResult)
