"""The spine, for real: separate processes, kills in the middle, and an audit afterwards."""

import time
from pathlib import Path

import anyio
import pytest

from acceptance.fleet import Fleet, fleet
from galerne import Client, JobFailedError

pytestmark = pytest.mark.anyio

JOBS = 50
ROLES = (
    "coordinator-1",
    "coordinator-2",
    "planner-1",
    "executor-1",
    "executor-2",
    "tools-1",
)
WINDOW = 0.25
"""Seconds before a kill in which an answer may be on its way from the provider to the disk: the
one case in which a finished call may be paid for again (docs/guarantees.md)."""


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_fifty_jobs_survive_kills_of_everything(tmp_path: Path) -> None:
    paced = ("--latency", "0.05", "--pace", "400")
    async with fleet(tmp_path, *ROLES, options=paced) as running:
        sizes = _write_files(running)
        kills: list[float] = []
        answers: dict[int, str] = {}
        with anyio.fail_after(180):
            async with (
                Client.connect(running.nats.url) as client,
                anyio.create_task_group() as tasks,
            ):
                tasks.start_soon(_disturb, running, answers, kills)
                for number in range(JOBS):
                    tasks.start_soon(_run_job, client, number, answers)
        assert len(kills) == 1
        _check_answers(answers, sizes)
        _check_ledger(running, kills)


def _write_files(running: Fleet) -> dict[str, int]:
    """Files `f0.txt` to `f9.txt` and their numbers of words."""
    sizes = {f"f{number}.txt": 7 + 13 * number for number in range(10)}
    for name, words in sizes.items():
        (running.files / name).write_text(" ".join(f"word{n}" for n in range(words)) + "\n")
    return sizes


def _files_of(number: int) -> tuple[str, str]:
    return f"f{number % 10}.txt", f"f{(number * 3 + 1) % 10}.txt"


async def _run_job(client: Client, number: int, answers: dict[int, str]) -> None:
    one, other = _files_of(number)
    goal = f"Count the words in {one} and in {other}, then say which is longer"
    job = await client.submit(goal, key=f"job {number}")
    try:
        answers[number] = await job.result()
    except JobFailedError as error:
        answers[number] = f"FAILED: {error}"


async def _disturb(running: Fleet, answers: dict[int, str], kills: list[float]) -> None:
    """Kill an executor, a coordinator and the server while jobs are under way."""

    async def finished(count: int) -> None:
        while len(answers) < count:
            await anyio.sleep(0.01)

    await finished(3)
    running.kill("executor-1")
    kills.append(time.time())
    running.start_worker("executor-1")
    await finished(10)
    running.kill("coordinator-1")
    running.start_worker("coordinator-1")
    await finished(18)
    await running.nats.kill()
    await running.nats.start()


def _check_answers(answers: dict[int, str], sizes: dict[str, int]) -> None:
    assert len(answers) == JOBS
    for number, answer in answers.items():
        one, other = _files_of(number)
        assert not answer.startswith("FAILED"), answer
        assert f"{one} has {sizes[one]} words" in answer, answer
        assert f"{other} has {sizes[other]} words" in answer, answer
        longer, shorter = sorted((one, other), key=lambda name: -sizes[name])
        if one != other:
            assert f"{longer} is longer than {shorter}" in answer, answer


def _check_ledger(running: Fleet, kills: list[float]) -> None:
    """No finished call again, but for answers that were between the provider and the disk."""
    repeated = {
        key: entries for key, entries in running.finished_calls().items() if len(entries) > 1
    }
    excused = {
        key
        for key, entries in repeated.items()
        if len(entries) == 2 and any(0 <= kill - entries[0].time <= WINDOW for kill in kills)
    }
    assert set(repeated) == excused, repeated
    assert len(excused) <= 1, repeated
