"""The processes of a fleet, forked by a zygote (`zygote.py`) and killed by name."""

import json
import os
import signal
import sys
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
from anyio.streams.buffered import BufferedByteReceiveStream

LONGEST_LINE = 64 * 1024


class Forked:
    """A process of a fleet. `status` is None while it lives, negative where a signal ended it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.status: int | None = None
        self.ended = anyio.Event()

    @property
    def alive(self) -> bool:
        return self.status is None

    @property
    def killed(self) -> bool:
        """Whether a signal has ended it, and not it itself."""
        return self.status is not None and self.status < 0

    def send(self, number: signal.Signals) -> None:
        """A signal; none to a process that is gone, as its pid may be another's by now."""
        if self.alive:
            with suppress(ProcessLookupError):  # it has ended, and the zygote has not said so yet
                os.kill(self.pid, number)


class Zygote:
    """Asks the zygote for processes, and hears from it when they end."""

    def __init__(self, process: anyio.abc.Process) -> None:
        self._process = process
        self._forked: dict[int, Forked] = {}
        self._asked: deque[_Answer] = deque()

    async def fork(
        self, *arguments: str, environ: Mapping[str, str], log: Path, folder: Path
    ) -> Forked:
        """Start `galerne ARGUMENTS`, with both outputs in `log`."""
        answer = _Answer()
        self._asked.append(answer)
        wanted = {"arguments": arguments, "environ": dict(environ)}
        wanted |= {"log": str(log), "folder": str(folder)}
        assert self._process.stdin is not None
        await self._process.stdin.send(json.dumps(wanted).encode() + b"\n")
        with anyio.fail_after(30):
            await answer.came.wait()
        assert answer.forked is not None
        return answer.forked

    async def follow(self) -> None:
        """Hear what the zygote says, until cancelled."""
        assert self._process.stdout is not None
        lines = BufferedByteReceiveStream(self._process.stdout)
        while True:
            try:
                line = await lines.receive_until(b"\n", LONGEST_LINE)
            except (anyio.IncompleteRead, anyio.EndOfStream) as error:
                raise RuntimeError("the zygote has died: its zygote.log says why") from error
            said: dict[str, Any] = json.loads(line)
            pid = said["pid"]
            if "status" not in said:
                answer = self._asked.popleft()
                answer.forked = self._forked[pid] = Forked(pid)
                answer.came.set()
            elif (forked := self._forked.pop(pid, None)) is not None:
                forked.status = said["status"]
                forked.ended.set()


class _Answer:
    def __init__(self) -> None:
        self.came = anyio.Event()
        self.forked: Forked | None = None


@asynccontextmanager
async def zygote(folder: Path) -> AsyncGenerator[Zygote]:
    """A zygote for as long as the context lasts; `folder` is where it installs the chaos tools."""
    folder.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240 - nothing else runs yet
    tests = str(Path(__file__).parents[1])
    path = os.pathsep.join(filter(None, (tests, os.environ.get("PYTHONPATH"))))
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GALERNE_")}
    with (folder / "zygote.log").open("ab") as log:
        process = await anyio.open_process(
            [sys.executable, "-m", "chaos.zygote", str(folder)],
            stderr=log,
            env=environ | {"PYTHONPATH": path},
            start_new_session=True,
        )
    made = Zygote(process)
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(made.follow)
            yield made
            tasks.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            with suppress(ProcessLookupError):
                process.kill()  # its processes die with it
            await process.wait()
            await process.aclose()
