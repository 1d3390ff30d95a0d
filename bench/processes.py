"""The processes that are measured: started, watched through /proc, and ended.

CPU seconds are those that the kernel counted for a process and its threads, in ticks of a
hundredth of a second; nothing is estimated and nobody else's work is in them.
"""

import os
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.abc
from anyio.streams.buffered import BufferedByteReceiveStream

TICK = 1 / os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
START = 20.0
"""Seconds that a process has to say that it serves."""
PROFILE = os.environ.get("BENCH_PROFILE")
"""Folder for a cProfile of each Python process, written when it ends; slows everything down."""


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far, all its threads together."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE


@asynccontextmanager
async def python_process(log: Path, module: str, *arguments: str) -> AsyncGenerator[int]:
    """`python -m module` for as long as the context lasts, once it has said `ready`; its pid."""
    name = "-".join((module, *arguments[:1]))
    profiler = ["-m", "cProfile", "-o", f"{PROFILE}/{name}.prof"] if PROFILE else []
    command = [sys.executable, *profiler, "-m", module, *arguments]
    with log.open("ab") as lines:
        process = await anyio.open_process(command, stdin=None, stderr=lines)
    try:
        await _ready(process, name, log)
        yield process.pid
    finally:
        with anyio.CancelScope(shield=True):
            await _end(process)


async def _ready(process: anyio.abc.Process, name: str, log: Path) -> None:
    assert process.stdout is not None
    try:
        with anyio.fail_after(START):
            await BufferedByteReceiveStream(process.stdout).receive_until(b"ready\n", 1000)
    except (TimeoutError, anyio.IncompleteRead) as error:
        words = _last_line(log)
        raise SystemExit(f"{name} did not start: {words}") from error


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "no output"


async def _end(process: anyio.abc.Process) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
        with anyio.move_on_after(10):
            await process.wait()
    if process.returncode is None:
        process.kill()
        await process.wait()
    await process.aclose()
