"""The coordinator of one run: what to do next is decided by the functions that the fleet's use.

news in the log ─▶ decide, overdue ─▶ their facts are written
ready      ─▶ a runner starts, beside the others
done       ─▶ of a task that still runs (its time is over, the plan does without it): stop it
asked      ─▶ `on_ask`, one question at a time, the oldest first
ended      ─▶ everything that still runs is stopped
"""

from collections.abc import Callable

import anyio
import anyio.abc

from galerne.core import ends
from galerne.core.decide import decide, overdue
from galerne.local.asking import OnAsk, decided
from galerne.local.runner import Runner
from galerne.local.work import Work
from galerne.logs import get_logger
from galerne.messages.facts import AnyFact, Asked, Done, Ended, Ready, Submitted
from galerne.messages.ids import TaskId

log = get_logger("galerne.local")


class Scheduler:
    """Brings one job to its end."""

    def __init__(
        self, work: Work, on_ask: OnAsk | None, problem: Callable[[], Exception | None]
    ) -> None:
        """`problem` gives what a callback of the caller has raised, if one has."""
        self._work = work
        self._log = work.log
        self._state = work.log.state
        self._runner = Runner(work)
        self._on_ask = on_ask
        self._problem = problem
        self._failed: Exception | None = None
        self._wanted: dict[TaskId, Ready] = {}
        self._running: dict[TaskId, anyio.CancelScope] = {}
        self._asking: tuple[Asked, anyio.CancelScope] | None = None

    async def run(self) -> Ended:
        """Raises what a callback raised."""
        failed: Exception | None = None
        self._log.write(Submitted(job=self._work.job, at=self._work.clock()))
        async with anyio.create_task_group() as tasks:
            while self._state.ended is None and failed is None:
                self._decide(tasks)
                await self._log.news()
                failed = self._problem() or self._failed
            tasks.cancel_scope.cancel()
        if failed is not None:
            raise failed
        assert self._state.ended is not None, "the loop has no other end"
        return self._state.ended

    def _decide(self, tasks: anyio.abc.TaskGroup) -> None:
        now = self._work.clock()
        for fact in [*overdue(self._state, now), *self._decided(now)]:
            if self._log.write(fact) is not fact:
                continue
            match fact:
                case Ready():
                    self._start(fact, tasks)
                case Done(task=task):
                    self._stop(task)
                case _:
                    pass
        self._ask(tasks)

    def _decided(self, now: float) -> list[AnyFact]:
        try:
            return decide(self._state, now, self._work.rules)
        except Exception as error:
            log.exception("a job cannot be decided")
            return [ends.undecidable(error, now)]

    # tasks

    def _start(self, ready: Ready, tasks: anyio.abc.TaskGroup) -> None:
        task = ready.task.id
        self._wanted[task] = ready
        if task not in self._running:
            self._running[task] = anyio.CancelScope()
            tasks.start_soon(self._run, task, self._running[task])

    async def _run(self, task: TaskId, scope: anyio.CancelScope) -> None:
        """What is wanted of a task, and what of it an answer makes ready meanwhile."""
        try:
            with scope:
                while (ready := self._wanted.pop(task, None)) is not None:
                    await self._runner.run(ready)
        except Exception as error:  # noqa: BLE001 - raised to the caller of the run
            self._fail(error)
        finally:
            del self._running[task]

    def _stop(self, task: TaskId) -> None:
        self._wanted.pop(task, None)
        if task in self._running:
            self._running[task].cancel()

    def _fail(self, error: Exception) -> None:
        self._failed = error
        self._log.wake()

    # people

    def _ask(self, tasks: anyio.abc.TaskGroup) -> None:
        asks = self._state.asks
        if self._state.ended is not None:
            return
        if self._asking is not None:
            ask, scope = self._asking
            if (ask.task, ask.n, ask.round) not in asks.open:  # its time is over
                scope.cancel()
            return
        for ask in asks.open_in_order():
            if self._on_ask is None:
                self._log.write(self._nobody_to_ask(ask))
                return
            self._asking = ask, anyio.CancelScope()
            tasks.start_soon(self._answer, self._on_ask, *self._asking)
            return

    async def _answer(self, on_ask: OnAsk, ask: Asked, scope: anyio.CancelScope) -> None:
        try:
            with scope:
                self._log.write(await decided(on_ask, self._work.job.id, ask, self._work.clock))
        except Exception as error:  # noqa: BLE001 - raised to the caller of the run
            self._fail(error)
        finally:
            self._asking = None
            self._log.wake()

    def _nobody_to_ask(self, ask: Asked) -> Ended:
        what = {"approval": "leave", "question": "an answer", "doubt": "to know what has happened"}
        why = (
            f"task {ask.task} wants {what.get(ask.what, 'a word')} of a person"
            f" ({ask.question[:200]}): give run(on_ask=…)"
        )
        now, usage = self._work.clock(), self._state.usage()
        return Ended(status="failed", usage=usage, at=now, error=why)
