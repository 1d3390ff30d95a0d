"""Tools of one's own in real tool workers: the README's, and one whose worker dies midway."""

import json
import os
import subprocess
import sys
from collections.abc import AsyncGenerator
from functools import partial
from pathlib import Path

import anyio
import pytest

from acceptance.fleet import FAST, Fleet, fleet
from acceptance.pages import ROOT, blocks
from galerne.client import Client, Job

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

PATIENCE = 90.0
"""Seconds until something that never comes fails a test."""
CHARGE = '''
import time
from pathlib import Path
from galerne import ToolContext, tool

@tool(effect="once")
def charge(cents: int, context: ToolContext) -> dict[str, int]:
    """Charge."""
    with Path("files/charged").open("a") as ledger:
        ledger.write(f"{cents} {context.key}\\n")
    while Path("files/stuck").exists():
        time.sleep(0.02)
    return {"charged": cents}
'''

CRAWL = '''
import os
import time
from pathlib import Path
from galerne import ToolContext, tool

def work(kind: str, context: ToolContext) -> str:
    with Path("files/worked").open("a") as ledger:
        ledger.write(f"{kind} {context.key} {os.getpid()}\\n")
    while Path("files/stuck").exists():
        time.sleep(0.02)
    return kind

@tool(effect="pure", timeout=1200)
def crawl(context: ToolContext) -> str:
    """Crawl."""
    return work("crawl", context)

@tool(effect="idempotent", timeout=1200)
def upload(context: ToolContext) -> str:
    """Upload."""
    return work("upload", context)

@tool(effect="once", timeout=1200)
def transfer(context: ToolContext) -> str:
    """Transfer."""
    return work("transfer", context)
'''


@pytest.fixture
async def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Fleet]:
    """A fleet whose tool workers find three packages beside Galerne's own."""
    (block,) = [block for block in blocks(ROOT / "README.md", "python") if block.label == "tool"]
    packages = tmp_path / "packages"
    packages.mkdir()
    for name, text in (("shipping", block.text), ("charging", CHARGE), ("crawling", CRAWL)):
        (packages / f"{name}.py").write_text(text, "utf-8")
        info = packages / f"{name}-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
        (info / "entry_points.txt").write_text(f"[galerne.tools]\n{name} = {name}\n")
    paths = [str(packages), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setitem(FAST, "PYTHONPATH", os.pathsep.join(paths))
    async with fleet(tmp_path, "coordinator-1", "planner-1", "executor-1", "tools-1") as made:
        yield made


async def galerne(made: Fleet, *arguments: str) -> "subprocess.CompletedProcess[str]":
    run = partial(
        subprocess.run,
        [sys.executable, "-m", "galerne", *arguments],
        cwd=made.folder,
        env={**os.environ, "NO_COLOR": "1", "LOGNAME": "anna", "GALERNE_SERVER": made.nats.url},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    return await anyio.to_thread.run_sync(run)


async def test_the_tool_of_the_readme_is_served_and_called(running: Fleet) -> None:
    done = await galerne(
        running, "submit", "--wait", 'Call shipping_cost with {"weight_kg": 2, "country": "DE"}'
    )
    assert done.returncode == 0, done.stderr
    assert "12.0" in done.stdout


async def test_a_tool_that_nobody_serves_is_told_at_once(running: Fleet) -> None:
    """A slip of the pen in --approve would else be no approval at all."""
    given = ("--approve", "shiping_cost", "--approve", "*", "--tools", "charge", "Do nothing")
    done = await galerne(running, "submit", *given)
    assert done.returncode == 0, done.stderr
    assert "no tool worker serves shiping_cost now; there are " in done.stderr
    assert "charge, " in done.stderr
    assert "shipping_cost" in done.stderr
    async with Client.connect(running.nats.url) as client:
        served = await client.tools()
        assert served["charge"].effect == "once"


async def test_a_tool_of_a_plan_that_nobody_serves_is_told_at_once(
    running: Fleet, tmp_path: Path
) -> None:
    plan = tmp_path / "plan.json"
    plan.write_text('[{"id": 1, "kind": "tool", "tool": "frobnicate", "args": {}}]')
    done = await galerne(running, "submit", "--plan", str(plan), "Do it")
    assert done.returncode == 0, done.stderr
    assert "no tool worker serves frobnicate now; there are " in done.stderr


async def test_a_tool_is_told_to_be_served_by_nobody_where_no_tool_worker_runs(
    tmp_path: Path,
) -> None:
    async with fleet(tmp_path, "coordinator-1") as without:
        done = await galerne(without, "submit", "--tools", "charge", "Do nothing")
    assert done.returncode == 0, done.stderr
    assert "no tool worker serves charge now; there is no tool worker" in done.stderr


async def in_doubt(job: Job) -> None:
    with anyio.fail_after(PATIENCE):
        while not any(one.what == "doubt" for one in await job.asks()):
            await anyio.sleep(0.05)


async def test_a_call_in_doubt_is_resolved_from_the_command_line(running: Fleet) -> None:
    charged, stuck = running.files / "charged", running.files / "stuck"
    stuck.touch()
    charged.touch()
    ways = (("--happened",), ("--not",), ("--result", '{"charged":7}'))
    async with Client.connect(running.nats.url) as client:
        jobs = [
            await client.submit(f'Call charge with {{"cents": {number}}}')
            for number in range(1, len(ways) + 1)
        ]
        with anyio.fail_after(PATIENCE):
            while len(charged.read_text().splitlines()) < len(ways):
                await anyio.sleep(0.05)
        running.kill("tools-1")
        stuck.unlink()
        running.start_worker("tools-2")
        for job in jobs:
            await in_doubt(job)
        first, last = jobs[0].id, jobs[-1].id
        shown = (await galerne(running, "show", first)).stdout
        assert "is IN DOUBT, it may have happened or not" in shown
        assert f"galerne resolve {first} 1.1 --happened" in shown
        assert "waits for a person" in shown
        assert json.loads((await galerne(running, "show", "--json", first)).stdout)["asks"]
        said = [
            await galerne(running, "resolve", job.id, "1.1", *how)
            for job, how in zip(jobs, ways, strict=True)
        ]
        assert [one.returncode for one in said] == [0, 0, 0], said
        assert "its result is not known, and is null" in said[0].stderr
        assert "it is begun anew" in said[1].stderr
        again = await galerne(running, "resolve", last, "1.1", "--not")
        assert again.returncode != 0
        results = [str(await job.result()) for job in jobs]
    assert ["charged" in result for result in results] == [False, True, True]
    assert "7" in results[2]
    done = [line.split() for line in charged.read_text().splitlines()]
    assert sorted(cents for cents, _ in done) == ["1", "2", "2", "3"]
    assert len({key for _, key in done}) == len(ways), "the same call has the same key each time"


async def of_kind(ledger: Path, kind: str, count: int) -> list[tuple[str, int]]:
    """Key and process of each time that a tool has begun, once there are so many."""
    begun: list[tuple[str, int]] = []
    with anyio.fail_after(PATIENCE):
        while len(begun) < count:
            await anyio.sleep(0.05)
            text = await anyio.Path(ledger).read_text()
            lines = [line.split() for line in text.splitlines()]
            begun = [(key, int(process)) for what, key, process in lines if what == kind]
    return begun


@pytest.mark.timeout(240)
async def test_a_worker_killed_in_a_long_call_is_followed_by_another_as_the_effect_allows(
    running: Fleet,
) -> None:
    """Calls that have given their executor's place away; each effect loses its worker."""
    kinds = ("crawl", "upload", "transfer")
    worked, stuck = running.files / "worked", running.files / "stuck"
    stuck.touch()
    worked.touch()
    (running.files / "a.txt").write_text("two words")
    running.start_worker("executor-2", GALERNE_WORKER_CONCURRENCY="1")
    await running.serving("executor-2")
    running.kill("executor-1")
    async with Client.connect(running.nats.url) as client:
        jobs = {kind: await client.submit(f"Call {kind} with {{}}") for kind in kinds}
        first = {kind: (await of_kind(worked, kind, 1))[0] for kind in kinds}
        # Three long calls of an executor with one place, and it still does another job.
        other = await client.submit("Count the words in a.txt")
        assert "a.txt has 2 words" in await other.result()
        assert {process for _, process in first.values()} == {running.process_id("tools-1")}
        running.start_worker("tools-2")
        await running.serving("tools-2")
        running.kill("tools-1")
        again = {kind: await of_kind(worked, kind, 2) for kind in ("crawl", "upload")}
        for kind, begun in again.items():
            assert begun == [first[kind], (first[kind][0], running.process_id("tools-2"))]
        await in_doubt(jobs["transfer"])
        shown = (await galerne(running, "show", jobs["transfer"].id)).stdout
        assert "is IN DOUBT, it may have happened or not" in shown
        stuck.unlink()
        for kind in ("crawl", "upload"):
            assert kind in str(await jobs[kind].result())
        resolved = await galerne(
            running, "resolve", jobs["transfer"].id, "1.1", "--result", '"transfer"'
        )
        assert resolved.returncode == 0, resolved.stderr
        assert "transfer" in str(await jobs["transfer"].result())
    assert await of_kind(worked, "transfer", 1) == [first["transfer"]], "it was never begun again"
