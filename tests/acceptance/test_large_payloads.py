"""256 MB through real processes: nobody holds it, and what comes out is what went in."""

# pyright: reportPrivateUsage=false

import hashlib
import os
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from acceptance.fleet import Fleet
from galerne.agent import TaskContext
from galerne.messages.facts import PlanEnded, Planned
from galerne.messages.ids import TaskId
from galerne.messages.plan import TaskSpec
from galerne.settings import BusSettings, Settings, WorkerSettings
from integration.fleet import agent, fleet_on

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's memory peak"),
]

MB = 1024 * 1024
GROWTH = 60.0
"""MB that a process may grow by while 256 MB pass through it."""

TOOL_WORKER = """\
import tempfile
from pathlib import Path

import anyio

from galerne.messages.blobs import Blob
from galerne.runtime import roles
from galerne.settings import load_settings
from galerne.tools import BlobFile, ToolContext, tool


@tool(effect="idempotent", timeout=240.0)
async def stamp(report: BlobFile, context: ToolContext) -> Blob:
    "Append a line to a report."
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "stamped.txt"
        await report.save_to(path)
        with path.open("ab") as file:
            file.write(b"stamped")
        return await context.blobs.put_file(path)


async def main() -> None:
    roles.load_tools = lambda settings: {"stamp": stamp}
    started = anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(roles.serve, "tools", load_settings(), anyio.Event(), started)
        await started.wait()
        print("serving", flush=True)


anyio.run(main)
"""


class Finished:
    """A command that has ended; `peak` is the most memory that it had, in MB."""

    def __init__(self, code: int, out: str, err: str, peak: float) -> None:
        self.code = code
        self.out = out
        self.err = err
        self.peak = peak


def galerne(folder: Path, environment: dict[str, str], *arguments: str) -> Finished:
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "galerne", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env=environment,
        )
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    texts = [(folder / name).read_text() for name in ("out", "err")]
    return Finished(process.returncode, texts[0], texts[1], used.ru_maxrss / 1024)


def memory(process: int, field: str) -> float:
    """MB; `VmRSS` now, `VmHWM` the most so far."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise AssertionError(field)


def write(path: Path, megabytes: int) -> str:
    """Text of so many MB; gives the hash of it with the tool's stamp."""
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for n in range(megabytes):
            piece = f"{n:08}".encode() * (MB // 8)
            digest.update(piece)
            file.write(piece)
    digest.update(b"stamped")
    return digest.hexdigest()


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


async def planning(context: TaskContext) -> Any:
    if context.ready.task.kind == "answer":
        return "done"
    args = {"report": context.ready.inputs["report"]}
    stamping = TaskSpec(id=TaskId("1"), kind="tool", tool="stamp", args=args)
    context.write(Planned(revision=1, n=1, task=stamping))
    context.write(PlanEnded(revision=1, count=1))
    return 1


@asynccontextmanager
async def running(folder: Path) -> AsyncGenerator[Fleet]:
    """Real coordinator, executor and tool worker; the planner is a script in this process."""
    script = folder / "tool_worker.py"
    script.write_text(TOOL_WORKER)
    made = Fleet(folder)
    try:
        await made.start("coordinator-1", "executor-1")
        with (folder / "tools-1.log").open("ab") as log:
            made._processes["tools-1"] = subprocess.Popen(  # noqa: ASYNC220 - it is not waited for
                [sys.executable, str(script)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=made._environment | {"TMPDIR": str(folder)},
            )
        settings = Settings(
            bus=BusSettings(server=made.nats.url),
            worker=WorkerSettings(spool=str(folder / "spool")),
        )
        async with fleet_on(settings) as scripted:
            await scripted.planner(agent(planning, lane="planner", kinds=("plan", "answer")))
            await made.serving("tools-1", patience=60.0)
            yield made
    finally:
        with anyio.CancelScope(shield=True):
            await made.stop()


async def test_256_megabytes_pass_through_processes_that_hold_nothing(tmp_path: Path) -> None:
    small, large = tmp_path / "small.txt", tmp_path / "large.txt"
    sums = {small: write(small, 1), large: write(large, 255)}
    peaks: dict[Path, tuple[float, float]] = {}
    async with running(tmp_path) as fleet:
        workers = ("coordinator-1", "executor-1", "tools-1")
        before: dict[str, float] = {}
        for path in (small, large):
            ran = await anyio.to_thread.run_sync(
                galerne, tmp_path, fleet._environment, *_submit(path)
            )
            assert ran.code == 0, ran.err
            job = ran.out.strip()
            watched = await anyio.to_thread.run_sync(
                galerne, tmp_path, fleet._environment, "watch", job
            )
            assert watched.code == 0, watched.err + fleet.log_of("tools-1")
            target = tmp_path / f"back-{path.name}"
            fetched = await anyio.to_thread.run_sync(
                galerne, tmp_path, fleet._environment, *_fetch(job, target)
            )
            assert fetched.code == 0, fetched.err
            assert await anyio.to_thread.run_sync(sha256, target) == sums[path]
            peaks[path] = (ran.peak, fetched.peak)
            if path is small:
                before = {name: memory(fleet._processes[name].pid, "VmHWM") for name in workers}
        for name in workers:
            grown = memory(fleet._processes[name].pid, "VmHWM") - before[name]
            assert grown < GROWTH, f"{name} grew by {grown:.0f} MB"
    for command, had, needed in zip(("submit", "fetch"), peaks[small], peaks[large], strict=True):
        assert needed - had < GROWTH, f"{command} grew by {needed - had:.0f} MB"


def _submit(path: Path) -> tuple[str, ...]:
    return ("submit", "Stamp the report", "--input", f"report=@{path}")


def _fetch(job: str, target: Path) -> tuple[str, ...]:
    return ("fetch", job, "1", "--output", str(target))
