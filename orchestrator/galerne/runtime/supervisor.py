"""Keeps processes alive: whoever dies is started again, unless that has become pointless.

    start ──▶ alive ──▶ dead ──▶ pause ──▶ start …      the pause doubles, and is short again
                          │                             after a healthy life
                          └──▶ give up: everything stops (`ChildFailedError`)

What to do after a death is decided by `after_death`, a function of how long the child lived, how
it ended and what came before; the rest of this module does it.
"""

import os
import random
import signal
import subprocess
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import anyio
import anyio.abc
import msgspec

from galerne.errors import GalerneError, PermanentError
from galerne.logs import get_logger

log = get_logger("galerne.supervisor")

_LAST_LINES = 5
_LONGEST_LINE = 64 * 1024
_FAREWELL = 0.5
"""Seconds for the rest of a dead child's output."""


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """When to start a dead child again, and when not. Times are in seconds."""

    first_pause: float = 0.2
    longest_pause: float = 5.0
    healthy: float = 10.0
    """Whoever lived so long starts with a clean record."""
    quick: float = 1.0
    """Whoever dies sooner has not really started."""
    limit: int = 5
    """Quick deaths in a row that are enough."""
    hopeless: frozenset[int] = frozenset({2})
    """Exit codes that another start would only repeat: the command line or a setting is wrong."""


class Record(msgspec.Struct, frozen=True):
    """What has to be remembered of a child's earlier deaths."""

    quick_deaths: int = 0
    pause: float = 0.0


class Restart(msgspec.Struct, frozen=True, tag=True):
    """Start it again after so many seconds."""

    pause: float


class GiveUp(msgspec.Struct, frozen=True, tag=True):
    """Starting it again is of no use."""

    why: str


def after_death(
    policy: Policy, record: Record, lived: float, code: int, jitter: float
) -> tuple[Record, Restart | GiveUp]:
    """What to do about a child that ended with `code` after `lived` seconds.

    `jitter` in [0, 1) shortens the pause by up to half, so that children that died together do
    not come back together.
    """
    if code in policy.hopeless and lived < policy.healthy:
        return record, GiveUp(f"ended with code {code}, which another start would only repeat")
    quick = record.quick_deaths + 1 if lived < policy.quick else 0
    if quick >= policy.limit:
        return record, GiveUp(f"died {quick} times in a row within {policy.quick:g} s")
    fresh = lived >= policy.healthy or record.pause == 0
    pause = policy.first_pause if fresh else min(2 * record.pause, policy.longest_pause)
    return Record(quick, pause), Restart(pause * (1 - jitter / 2))


class ChildFailedError(PermanentError):
    """A child that cannot be kept alive; `exit_code` is its last one."""

    code = "child_failed"

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Child(Protocol):
    """Something that lives and dies."""

    @property
    def name(self) -> str: ...
    async def start(self) -> None:
        """Bring it to life. Raises GalerneError or OSError where that fails."""
        ...

    async def wait(self) -> int:
        """Wait for its death; gives its exit code."""
        ...

    async def stop(self, grace: float) -> None:
        """End it, by force after `grace` seconds. Harmless where it is dead."""
        ...

    def last_words(self) -> str:
        """The last line it said, or nothing."""
        ...


class Supervisor:
    """Keeps children alive until it is told to stop."""

    def __init__(
        self,
        policy: Policy | None = None,
        *,
        clock: Callable[[], float] = anyio.current_time,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._policy = policy or Policy()
        self._clock = clock
        self._jitter = jitter

    async def run(self, children: Sequence[Child], stop: anyio.Event, grace: float) -> None:
        """Start the children and keep them until `stop` is set; then end them, all at once.

        Raises ChildFailedError where one cannot be kept alive; the others are ended then too.
        Cancelling it kills them.
        """
        failure: ChildFailedError | None = None

        async def keep(child: Child) -> None:
            nonlocal failure
            try:
                await self._keep(child)
            except ChildFailedError as error:
                failure = failure or error
                tasks.cancel_scope.cancel()

        try:
            async with anyio.create_task_group() as tasks:
                for child in children:
                    tasks.start_soon(keep, child)
                await stop.wait()
                tasks.cancel_scope.cancel()
            await self._end(children, grace)
        finally:
            with anyio.CancelScope(shield=True):  # who is cancelled has no patience left
                await self._end(children, 0)
        if failure is not None:
            raise failure

    async def _end(self, children: Sequence[Child], grace: float) -> None:
        async with anyio.create_task_group() as tasks:
            for child in children:
                tasks.start_soon(child.stop, grace)

    async def _keep(self, child: Child) -> None:
        """Start a child again and again. Raises ChildFailedError."""
        record = Record()
        while True:
            lived, code, words = await self._life(child)
            record, decision = after_death(self._policy, record, lived, code, self._jitter())
            match decision:
                case GiveUp(why=why):
                    said = f": {words}" if words else ""
                    raise ChildFailedError(f"{child.name} {why}{said}", code)
                case Restart(pause=pause):
                    log.warning(
                        "a process died and is started again",
                        process=child.name,
                        code=code,
                        lived=round(lived, 1),
                        pause=round(pause, 2),
                        said=words,
                    )
                    await anyio.sleep(pause)

    async def _life(self, child: Child) -> tuple[float, int, str]:
        """One life: its length, its exit code, its last words."""
        started = self._clock()
        try:
            await child.start()
        except (GalerneError, OSError) as error:
            return self._clock() - started, 1, str(error)
        log.info("a process started", process=child.name)
        code = await child.wait()
        return self._clock() - started, code, child.last_words()


class ProcessChild:
    """A process of our own. What it says on stderr goes to `relay`, line by line."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environ: Mapping[str, str],
        relay: Callable[[str], None],
    ) -> None:
        self._name = name
        self._command = list(command)
        self._environ = dict(environ)
        self._relay = relay
        self._process: anyio.abc.Process | None = None
        self._said: deque[str] = deque(maxlen=_LAST_LINES)

    @property
    def name(self) -> str:
        return self._name

    async def start(self) -> None:
        """In a session of its own: Ctrl-C on our terminal is ours to pass on, in good order."""
        await self.stop(0)
        self._said.clear()
        self._process = await anyio.open_process(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=self._environ,
            start_new_session=True,
        )

    async def wait(self) -> int:
        process = self._process
        assert process is not None, "start comes before wait"
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._listen, process)
            await process.wait()
            tasks.cancel_scope.deadline = anyio.current_time() + _FAREWELL
        assert process.returncode is not None, "it has been waited for"
        return process.returncode

    async def stop(self, grace: float) -> None:
        """SIGTERM; SIGKILL after `grace` seconds."""
        process = self._process
        if process is None:
            return
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._listen, process)
            if process.returncode is None and grace > 0:
                self._signal(process, signal.SIGTERM)
                with anyio.move_on_after(grace):
                    await process.wait()
            if process.returncode is None:
                self._signal(process, signal.SIGKILL)
                await process.wait()
            tasks.cancel_scope.cancel()
        self._process = None
        await process.aclose()

    def last_words(self) -> str:
        return next((line for line in reversed(self._said) if line.strip()), "")

    async def _listen(self, process: anyio.abc.Process) -> None:
        """Pass on what the process says until it closes its stderr."""
        assert process.stderr is not None, "its stderr is a pipe"
        pending = b""
        try:
            async for chunk in process.stderr:
                *lines, pending = (pending + chunk).split(b"\n")
                for line in lines:
                    self._hear(line)
                if len(pending) > _LONGEST_LINE:
                    self._hear(pending)
                    pending = b""
        except (anyio.ClosedResourceError, anyio.BrokenResourceError):
            return
        if pending:
            self._hear(pending)

    def _hear(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace")
        self._said.append(text)
        self._relay(text)

    @staticmethod
    def _signal(process: anyio.abc.Process, number: signal.Signals) -> None:
        try:
            process.send_signal(number)
        except ProcessLookupError:  # it has just gone by itself
            return


async def parent_gone(parent: int, every: float = 1.0) -> None:
    """Return when process `parent` is not our parent any more: it died without a word to us."""
    while os.getppid() == parent:  # noqa: ASYNC110 - the system has no portable event for it
        await anyio.sleep(every)
