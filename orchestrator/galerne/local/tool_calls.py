"""A task's tool calls, in one attempt at it: the function itself is called, here.

    allowed? ─▶ leave wanted (by the job, by the tool)? ─▶ asked, the task is parked ─▶ decided
        ─▶ called, within the tool's time ─┬─ result, refusal: written
                                           └─ in doubt: a person is asked, as in the fleet

A step that is written is never made again, so an attempt that comes after a failure repeats no
effect. A tool gets the key of its call all the same: it may talk to something that lives longer.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from galerne.core.asks import arguments_hash
from galerne.core.leave import absent, as_settled, denial, not_callable, wants_leave
from galerne.core.progress import bounded, shortened
from galerne.core.steps import outcome_of, tool_step
from galerne.errors import InDoubtError, ParkedError, PermanentError
from galerne.local.work import Work
from galerne.messages.facts import Asked, Decided, Ready
from galerne.messages.live import Progress
from galerne.messages.tools import ToolOutcome, ToolRefused
from galerne.tools import AnyTool, ToolContext, invoke
from galerne.tools.context import Progress as Report


class ToolCalls:
    """One attempt's."""

    def __init__(self, work: Work, ready: Ready) -> None:
        self._work = work
        self._ready = ready
        self._task = ready.task.id

    async def call(self, n: int, call_id: str, name: str, arguments: dict[str, Any]) -> ToolOutcome:
        """The outcome of step `n`. Raises ParkedError where it waits for a person."""
        known = self._work.log.state.steps.get((self._task, n))
        if known is not None:
            return outcome_of(n, name, known)
        started = self._work.clock()
        outcome = await self._outcome(n, name, arguments)
        latency = self._work.clock() - started
        step = tool_step(self._task, n, call_id, name, outcome, latency)
        self._work.add_step(step)
        return outcome_of(n, name, step)

    async def _outcome(self, n: int, name: str, arguments: dict[str, Any]) -> ToolOutcome:
        tool = self._work.tools.get(name)
        refused = not_callable(
            self._ready, name, None if tool is None else tool.spec, self._work.tools
        )
        if refused is not None:
            return refused
        if tool is None:  # the plan names it, and nobody can bring it here any more
            return absent(name, self._work.tools)
        try:
            self._work.blobs.check(arguments)
        except PermanentError as error:
            return ToolRefused(code=error.code, message=str(error))
        doubts = self._decided(n, "doubt")
        if doubts and doubts[-1].verdict != "not_happened":
            return as_settled(name, doubts[-1])
        denied = self._denied(n, tool, arguments)
        if denied is not None:
            return denied
        outcome = await self._invoke(n, tool, arguments)
        if isinstance(outcome, ToolRefused) and outcome.code == InDoubtError.code:
            raise self._asking(
                n, lambda round_: self._doubt(n, round_, name, arguments, outcome.message)
            )
        return outcome

    async def _invoke(self, n: int, tool: AnyTool, arguments: dict[str, Any]) -> ToolOutcome:
        work = self._work
        async with work.tool_slots:
            context = ToolContext(
                key=f"{work.job.id}.{self._task}.{n}",
                deadline=work.clock() + tool.spec.timeout,
                tenant=work.job.tenant,
                clock=work.clock,
                blobs=work.blobs,
                progress=self._progress(n, tool.spec.name),
            )
            inline = work.settings.bus.inline
            return await invoke(tool, arguments, context, inline=inline)

    def _progress(self, n: int, tool: str) -> Report:
        """What the call's context tells, of whichever thread: the loop hands it on."""
        loop = asyncio.get_running_loop()

        def report(text: str, fraction: float | None = None) -> None:
            told = Progress(
                task=self._task, n=n, tool=tool, note=shortened(text), fraction=bounded(fraction)
            )
            with suppress(RuntimeError):  # a thread that nobody waits for any more
                loop.call_soon_threadsafe(self._work.on_progress, told)

        return report

    # what people are asked

    def _denied(self, n: int, tool: AnyTool, arguments: dict[str, Any]) -> ToolRefused | None:
        """None where nobody has to give leave, or somebody has. Raises ParkedError."""
        name = tool.spec.name
        why = "" if wants_leave(self._ready, name, tool.spec) else tool.leave(arguments)
        if why is None:
            return None
        wanted = arguments_hash(name, arguments)
        asks = self._work.log.state.asks
        for ask in self._asked(n) + self._asked(0):
            if ask.what == "approval" and ask.hash == wanted:
                decided = asks.decided.get((ask.task, ask.n, ask.round))
                if decided is None:
                    raise ParkedError(f"{name} waits for a person's leave")
                return denial(name, decided)
        raise self._asking(n, lambda round_: self._approval(n, round_, name, arguments, why))

    def _approval(
        self, n: int, round_: int, tool: str, arguments: dict[str, Any], why: str
    ) -> Asked:
        now = self._work.clock()
        return Asked(
            task=self._task,
            n=n,
            round=round_,
            what="approval",
            question=why or f"May {tool} be called with these arguments?",
            tool=tool,
            arguments=arguments,
            hash=arguments_hash(tool, arguments),
            until=now + self._work.rules.ask_timeout,
            at=now,
        )

    def _doubt(self, n: int, round_: int, tool: str, arguments: dict[str, Any], why: str) -> Asked:
        return Asked(
            task=self._task,
            n=n,
            round=round_,
            what="doubt",
            question=why,
            tool=tool,
            arguments=arguments,
            at=self._work.clock(),
        )

    def _asking(self, n: int, made: Callable[[int], Asked]) -> ParkedError:
        """Write the next question about a step; what it gives is raised, to let go of the task."""
        ask = made(max((one.round for one in self._asked(n)), default=0) + 1)
        self._work.log.write(ask)
        return ParkedError(f"step {n} waits for a person's word")

    def _asked(self, n: int) -> list[Asked]:
        """What was asked about a step of this task, oldest first."""
        asked = self._work.log.state.asks.asked.values()
        mine = [ask for ask in asked if (ask.task, ask.n) == (self._task, n)]
        return sorted(mine, key=lambda ask: ask.round)

    def _decided(self, n: int, what: str) -> list[Decided]:
        """What people have said of a step, oldest first."""
        decided = self._work.log.state.asks.decided
        keys = [(one.task, one.n, one.round) for one in self._asked(n) if one.what == what]
        return [decided[key] for key in keys if key in decided]
