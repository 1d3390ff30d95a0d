"""The calls that a tool worker is at: how far each is, whom it tells, and what stops it.

    begun ─▶ `working` each heartbeat, with what the tool says of itself ─▶ over
          ─▶ its job, or its task, is over: cancelled
One timer tells all callers, because one for each call would cost more than a short call does.
"""

import contextlib
from collections import Counter
from collections.abc import Callable

import anyio

from galerne.bus.connection import Bus
from galerne.bus.log import FactLog
from galerne.core.progress import bounded, shortened
from galerne.errors import GalerneError
from galerne.logs import get_logger
from galerne.messages.codec import encode
from galerne.messages.ids import JobId, TaskId, TenantId
from galerne.messages.subjects import JobAddress
from galerne.messages.tools import CallTool, Working
from galerne.runtime.ends import is_over, is_settled, listen_for_drops, listen_for_ends

log = get_logger("galerne.runtime.tools")


class ActiveCall:
    """One of them. `report` is the tool's `context.progress`, in whatever thread it runs."""

    __slots__ = ("_bus", "call", "fraction", "note", "reply", "scope")

    def __init__(self, bus: Bus, call: CallTool, reply: str) -> None:
        self._bus = bus
        self.call = call
        self.reply = reply
        self.scope = anyio.CancelScope()
        self.note = ""
        self.fraction: float | None = None

    def report(self, text: str, fraction: float | None = None) -> None:
        """Say how far it is; the caller hears the last word at the next heartbeat."""
        self.note = shortened(text)
        self.fraction = bounded(fraction)

    @property
    def job(self) -> JobId:
        return JobId(self.call.key.partition(".")[0])

    @property
    def task(self) -> TaskId:
        """Empty where the caller is no executor's."""
        return TaskId(self.call.key.partition(".")[2].partition(".")[0])

    @property
    def address(self) -> JobAddress:
        return self._bus.subjects.address(TenantId(self.call.tenant), self.job)


class ActiveCalls:
    """All of one worker; `me` is its name, `heartbeat` in seconds."""

    def __init__(self, bus: Bus, me: str, heartbeat: float) -> None:
        self._bus = bus
        self._me = me
        self._heartbeat = heartbeat
        self._calls: set[ActiveCall] = set()
        self._by_tool: Counter[str] = Counter()
        self._idle = anyio.Event()

    def __len__(self) -> int:
        return len(self._calls)

    def of(self, tool: str) -> int:
        """How many calls of one tool."""
        return self._by_tool[tool]

    def begin(self, call: CallTool, reply: str) -> ActiveCall:
        """From now on the caller is told that it is under way."""
        one = ActiveCall(self._bus, call, reply)
        self._calls.add(one)
        self._by_tool[call.tool] += 1
        return one

    def end(self, one: ActiveCall) -> None:
        self._calls.discard(one)
        self._by_tool[one.call.tool] -= 1
        self._idle.set()

    async def emptied(self) -> None:
        """Wait until there is none."""
        while self._calls:
            self._idle = anyio.Event()
            await self._idle.wait()

    async def listen(self) -> None:
        """From now on, stop what nobody wants any more, as soon as that is said."""
        await listen_for_ends(self._bus, self._concerns, self._stop_job)
        await listen_for_drops(self._bus, self._holds, self._stop_task)

    async def tell(self) -> None:
        """Heartbeats to all callers, until cancelled."""
        while True:
            await anyio.sleep(self._heartbeat)
            for one in [one for one in self._calls if one.reply]:
                working = Working(by=self._me, note=one.note, fraction=one.fraction)
                with contextlib.suppress(GalerneError):  # the next one is due soon
                    self._bus.post(one.reply, encode(working))

    async def look_for_ends(self, every: float) -> None:
        """What was not heard live is found in the log, where calls take long; until cancelled."""
        facts, before = FactLog(self._bus), frozenset[ActiveCall]()
        while True:
            await anyio.sleep(every)
            for one in before & self._calls:
                over = await is_over(facts, one.address)
                if over or (one.task and await is_settled(facts, one.address, one.task)):
                    _stop(one)
            before = frozenset(self._calls)

    def _concerns(self, address: JobAddress) -> bool:
        return any(one.address == address for one in self._calls)

    def _holds(self, address: JobAddress, task: TaskId) -> bool:
        return any(one.address == address and one.task == task for one in self._calls)

    async def _stop_job(self, address: JobAddress) -> None:
        self._stop_all(lambda one: one.address == address)

    def _stop_task(self, address: JobAddress, task: TaskId) -> None:
        self._stop_all(lambda one: one.address == address and one.task == task)

    def _stop_all(self, unwanted: Callable[[ActiveCall], bool]) -> None:
        for one in self._calls:
            if unwanted(one):
                _stop(one)


def _stop(one: ActiveCall) -> None:
    log.info("a call is stopped: nobody waits for it", tool=one.call.tool, key=one.call.key)
    one.scope.cancel()
