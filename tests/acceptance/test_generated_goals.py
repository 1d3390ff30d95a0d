"""The stand-in's answers to a hundred generated goals on real files are exactly right."""

import os
from pathlib import Path
from random import Random

import anyio
import pytest

import galerne
from acceptance.goals import NOTICE, goal, write_files

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

GOALS = int(os.environ.get("GOALS", "100"))
SEED = int(os.environ.get("GOALS_SEED", "20261123"))
AT_ONCE = 8


async def test_every_answer_is_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = Random(SEED)
    texts = write_files(tmp_path, chance)
    goals = [goal(texts, chance) for _ in range(GOALS)]
    monkeypatch.chdir(tmp_path)
    wrong: list[str] = []
    repaired: list[str] = []
    places = anyio.CapacityLimiter(AT_ONCE)

    async def answer(number: int) -> None:
        wanted = goals[number]
        async with places:
            with anyio.fail_after(60):
                result = await galerne.run(wanted.text, stand_in=True)
        if result.answer != wanted.answer + NOTICE:
            wrong.append(f"{wanted.text}: {result.answer!r} instead of {wanted.answer!r}")
        if any(task.id == "plan-1" and task.usage.model_calls > 1 for task in result.tasks):
            repaired.append(wanted.text)

    async with anyio.create_task_group() as tasks:
        for number in range(GOALS):
            tasks.start_soon(answer, number)
    assert wrong == []
    assert repaired == []
