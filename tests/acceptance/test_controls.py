"""What people control, with real processes: approvals, answers and budgets, from the shell."""

import json
import os
import subprocess
import sys
from collections.abc import AsyncGenerator
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from acceptance.fleet import FAST, Fleet, fleet
from galerne.client import Client, Job, OpenQuestion
from galerne.errors import JobFailedError

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

PATIENCE = 90.0
"""Seconds until something that never comes fails a test."""
WORKERS = ("coordinator-1", "planner-1", "executor-1", "tools-1")


@pytest.fixture
async def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Fleet]:
    """A fleet whose only executor does one task at a time."""
    monkeypatch.setitem(FAST, "GALERNE_WORKER_CONCURRENCY", "1")
    async with fleet(tmp_path, *WORKERS) as made:
        (made.files / "one.txt").write_text("alpha beta gamma\n")
        (made.files / "two.txt").write_text("one two three\nfour five\n")
        yield made


async def galerne(made: Fleet, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """The command, as somebody types it elsewhere."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GALERNE_")}
    run = partial(
        subprocess.run,
        [sys.executable, "-m", "galerne", *arguments],
        cwd=made.folder,
        env={**kept, "NO_COLOR": "1", "LOGNAME": "anna", "GALERNE_SERVER": made.nats.url},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    return await anyio.to_thread.run_sync(run)


async def asked(job: Job) -> OpenQuestion:
    """The first question of a job, once it is there."""
    with anyio.fail_after(PATIENCE):
        while not (found := await job.asks()):
            await anyio.sleep(0.05)
    return found[0]


async def test_a_call_waits_for_leave_without_a_place_and_a_refusal_is_read(
    running: Fleet,
) -> None:
    goal = "Count the words in one.txt"
    async with Client.connect(running.nats.url) as client:
        submitted = await galerne(running, "submit", "--approve", "text_stats", goal)
        assert submitted.returncode == 0, submitted.stderr
        first = client.job(submitted.stdout.strip())
        second = await client.submit(goal, approve=["text_stats"])
        question, other = await asked(first), await asked(second)
        assert (question.call, question.tool) == ("1.2", "text_stats")
        assert question.arguments == {"path": "one.txt"}

        meanwhile = await client.submit("Count the words in two.txt")
        with anyio.fail_after(PATIENCE):
            assert "two.txt has 5 words" in await meanwhile.result()

        listed = await galerne(running, "approvals", "--json")
        assert {one["job"] for one in json.loads(listed.stdout)} == {first.id, second.id}
        wrong = await galerne(running, "approve", first.id, "1.9")
        assert wrong.returncode == 1
        assert wrong.stderr == f"galerne: job {first.id} has no question 1.9: open are 1.2\n"

        approved = await galerne(running, "approve", first.id, question.call)
        assert (approved.returncode, approved.stderr) == (0, "galerne: 1.2 is approved by anna\n")
        with anyio.fail_after(PATIENCE):
            assert "one.txt has 3 words" in await first.result()

        denied = await galerne(running, "deny", second.id, other.call, "--why", "keep out of it")
        assert denied.returncode == 0, denied.stderr
        with anyio.fail_after(PATIENCE), pytest.raises(JobFailedError, match="keep out of it"):
            await second.result()
        assert await client.approvals() == []
        late = await galerne(running, "approve", second.id, other.call)
        assert late.returncode == 1
        assert "another word was first and stands: 1.2 is denied by anna" in late.stderr


async def test_a_question_is_answered_and_the_answer_is_used(running: Fleet) -> None:
    async with Client.connect(running.nats.url) as client:
        job = await client.submit("Ask me which file to count, then count the words of my answer.")
        question = await asked(job)
        assert (question.what, question.question) == ("question", "which file to count?")
        lines = (await galerne(running, "approvals")).stdout.splitlines()
        assert lines[1] == "  which file to count?"
        assert lines[2] == f"  galerne answer {job.id} 1.0 VALUE  (or: deny … --why TEXT)"
        misfit = await galerne(running, "approve", job.id, "1")
        assert misfit.returncode == 2
        answered = await galerne(running, "answer", job.id, "1", "two.txt")
        assert answered.stderr == 'galerne: 1.0 is answered by anna: "two.txt"\n'
        with anyio.fail_after(PATIENCE):
            await job.result()
        (counted,) = [task for task in (await job.view()).tasks if task.id == "2"]
        assert (counted.kind, counted.result["words"]) == ("tool", 5)


async def test_a_job_that_runs_out_of_calls_shows_what_it_has(running: Fleet) -> None:
    goal = "Count the words in one.txt and in two.txt, then say which is longer"
    done = await galerne(running, "submit", "--wait", "--max-calls", "3", goal)
    assert done.returncode == 1
    assert done.stdout == "1: one.txt has 3 words.\n"
    assert "ran out of its budget: the budget of 3 model calls is used up" in done.stderr
    assert sum(map(len, running.finished_calls().values())) == 3

    async with Client.connect(running.nats.url) as client:
        (summary,) = await client.jobs()
        job = client.job(summary.id)
        with pytest.raises(JobFailedError, match=r"spent: 3 model calls, \d+ tokens, \$0\.00"):
            await job.result()
        found: dict[str, Any] = (await job.view()).result
        assert found == {"results": {"1": "one.txt has 3 words."}}
    shown = (await galerne(running, "show", summary.id)).stdout
    assert "◐ budget_exhausted · " in shown
    assert "calls 3/3" in shown
    assert "1: one.txt has 3 words." in shown
    assert all(len(line) <= 80 for line in shown.splitlines())
