"""The spine, for real: separate processes, kills in the middle, and an audit afterwards."""

import time
from pathlib import Path

import anyio
import msgspec
import pytest

from acceptance.fleet import Fleet, fleet
from galerne import Client, JobFailedError
from galerne.bus.connection import connect
from galerne.bus.log import FactLog
from galerne.runtime.spools import read_spool
from galerne.settings import BusSettings

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
CONCURRENCY = 8
"""Calls at a time of one executor (the default)."""
WINDOW = 2.0
"""Seconds before a kill within which an answer that was still on its way must have been sent: a
loose bound for a machine that is busy with other things."""


class Kill(msgspec.Struct):
    """The kill of an executor: when, and which calls were in its spool and in the log then."""

    at: float
    spooled: set[str]
    committed: set[str]


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_fifty_jobs_survive_kills_of_everything(tmp_path: Path) -> None:
    paced = ("--latency", "0.05", "--pace", "400")
    async with fleet(tmp_path, *ROLES, options=paced) as running:
        sizes = _write_files(running)
        kills: list[Kill] = []
        answers: dict[int, str] = {}
        with anyio.fail_after(180):
            async with (
                Client.connect(running.nats.url) as client,
                anyio.create_task_group() as tasks,
            ):
                tasks.start_soon(_disturb, running, answers, kills)
                for number in range(JOBS):
                    tasks.start_soon(_run_job, client, number, answers)
        _check_answers(answers, sizes)
        (kill,) = kills
        await _check_ledger(running, kill)


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


async def _disturb(running: Fleet, answers: dict[int, str], kills: list[Kill]) -> None:
    """Kill an executor, a coordinator and the server while jobs are under way."""

    async def finished(count: int) -> None:
        while len(answers) < count:
            await anyio.sleep(0.01)

    await finished(3)
    kills.append(await _kill_executor(running, "executor-1"))
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


async def _check_ledger(running: Fleet, kill: Kill) -> None:
    """No finished call is paid for again, once its answer had reached the disk or the log.

    What may be repeated is an answer that was between the provider and the disk of the killed
    process at that moment: it is in none of its records, and there are at most as many as it had
    calls at a time (docs/guarantees.md).
    """
    repeated = {
        key: entries for key, entries in running.finished_calls().items() if len(entries) > 1
    }
    assert len(repeated) <= CONCURRENCY, repeated
    for key, entries in repeated.items():
        assert len(entries) == 2, entries
        assert kill.at - WINDOW <= entries[0].time <= kill.at, (kill.at, entries)
        assert key not in kill.spooled, key
        assert key not in kill.committed, key


async def _kill_executor(running: Fleet, name: str) -> Kill:
    """Kill it, look at what it has left, and start it again, as a supervisor would."""
    running.kill(name)
    at = time.time()
    spooled = {
        _key(message.subject)
        for path in (running.folder / "spool").glob("*/executor-*.spool")
        for message in read_spool(path)
    }
    running.start_worker(name)
    async with connect(BusSettings(server=running.nats.url), "audit") as bus:
        steps = await FactLog(bus).read(bus.subjects.events(rest="step.*.*"))
    names = {f"{record.address.job}.{record.name.removeprefix('step.')}" for record in steps}
    return Kill(at, spooled, names)


def _key(subject: str) -> str:
    """`….<job>.step.<task>.<n>` → the durable key of the call."""
    *_, job, _step, task, n = subject.split(".")
    return f"{job}.{task}.{n}"
