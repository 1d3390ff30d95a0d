"""The service `galerne-plan`: plans for whoever asks on the bus, without a job and without a log.

    request ─▶ unusable, or this process is at its limit: `plan_end` with the reason, at once
            ─▶ `plan_working`, then each task the moment the model has written it
            ─▶ `plan_end`: the plan is whole, or why it is not

Every planner serves it, and NATS gives each request to one of them. Nothing is stored, so a plan
ends with its planner; the asker hears that by the silence, and asks again. Whether an asker is
still there cannot be seen on core NATS: the time for a plan bounds what one that left can cost.
"""

import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version
from typing import Any, Final

import anyio
import anyio.abc
import msgspec

from galerne.bus.background import background
from galerne.bus.connection import Bus
from galerne.bus.service import About, Endpoint, Request, error_headers, serve_endpoints
from galerne.core.budget import Prices
from galerne.errors import (
    BusyError,
    DeadlineError,
    GalerneError,
    TooLargeError,
    TransientError,
    UnavailableError,
)
from galerne.logs import get_logger
from galerne.messages.codec import decode_ask_plan, encode
from galerne.messages.plan import TaskSpec, Usage
from galerne.messages.planning import (
    AskPlan,
    PlanEnd,
    PlanError,
    PlanReply,
    PlanTask,
    PlanWorking,
)
from galerne.models.ladder import Rung
from galerne.planner import Planner, PlanStream
from galerne.runtime.services import Services
from galerne.settings import Settings

log = get_logger("galerne.runtime.plans")

NAME: Final = "galerne-plan"
QUEUE: Final = "planners"
LAST_WORD: Final = 1.0
"""Seconds that a planner which stops has for the end of each plan."""
AGAIN: Final = 1.0
"""Seconds after which a busy planner may be asked again; another one may be free at once."""
_NUMBERS: Final = {
    "invalid_input": 400,
    "invalid_message": 400,
    "too_large": 413,
    "rate_limited": 429,
    "model": 502,
    "too_long": 502,
    "bad_answer": 502,
    "busy": 503,
    "unavailable": 503,
    "deadline": 504,
}
"""Codes of errors → numbers as HTTP has them; any other is 500."""


class PlanService:
    """Serves one process's share of the requests."""

    def __init__(self, bus: Bus, me: str, services: Services, settings: Settings) -> None:
        self._bus = bus
        self._me = me
        self._services = services
        self._settings = settings.plans
        self._drain = settings.worker.drain
        self._largest = settings.bus.max_payload
        self._rung: Rung = services.ladder.own
        self._planner = Planner(
            settings.planner.endpoint or "",
            self._rung.name,
            connect=lambda _: self._connected(),
            prompts=services.prompts,
        )
        self._about = About(
            name=NAME,
            version=version("galerne"),
            description="Breaks a goal into a graph of tasks, each sent the moment it is written",
            metadata={"prefix": bus.subjects.prefix, "model": self._rung.name},
        )
        self._endpoint = Endpoint("plan", bus.subjects.plan(), QUEUE)
        self._requests: anyio.abc.TaskGroup | None = None
        self._active = 0
        self._counts = {"plans": 0, "failed": 0, "refused": 0}
        self._idle = anyio.Event()

    async def run(self, stop: anyio.Event, started: anyio.Event) -> None:
        """Serve until `stop` is set, then finish what is under way within the drain time."""
        async with anyio.create_task_group() as requests:
            self._requests = requests
            endpoints = [(self._endpoint, self._take)]
            async with serve_endpoints(self._bus, self._about, endpoints, self._stats):
                started.set()
                log.info("serving plans", subject=self._endpoint.subject)
                await stop.wait()
            with anyio.move_on_after(self._drain):
                while self._active:
                    self._idle = anyio.Event()
                    await self._idle.wait()
            requests.cancel_scope.cancel()

    def _stats(self, _: str) -> dict[str, Any]:
        return {"active": self._active, "capacity": self._settings.concurrency, **self._counts}

    # one request

    def _take(self, request: Request) -> None:
        """In the reader of the connection: decides at once, and never raises."""
        if not request.reply or self._requests is None:
            log.debug("a plan was asked for, and no inbox given", subject=request.subject)
            return
        try:
            asked = self._asked(request)
        except GalerneError as error:
            self._counts["refused"] += 1
            self._requests.start_soon(self._send, request, _failed(error))
            return
        self._active += 1
        self._requests.start_soon(self._serve, request, asked)

    def _asked(self, request: Request) -> AskPlan:
        """Raises InvalidInputError, BusyError."""
        if len(request.data) > self._largest:
            raise TooLargeError(
                f"a request of {len(request.data)} bytes is over the limit of {self._largest}"
            )
        if self._active >= self._settings.concurrency:
            raise BusyError(
                f"this planner works on {self._active} plans already: ask again", retry_after=AGAIN
            )
        return decode_ask_plan(request.data)

    async def _serve(self, request: Request, asked: AskPlan) -> None:
        sent = _Sent(partial(self._send, request))
        try:
            end = await self._answered(asked, sent)
            self._counts["plans" if end.error is None else "failed"] += 1
            await self._send(request, end)
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True), anyio.move_on_after(LAST_WORD):
                gone = UnavailableError("this planner stops: ask again, and another one answers")
                await self._send(request, _failed(gone, sent))
            raise
        finally:
            self._active -= 1
            self._idle.set()

    async def _answered(self, asked: AskPlan, sent: "_Sent") -> PlanEnd:
        """The last word, after all others were sent."""
        seconds = self._settings.timeout
        try:
            with anyio.fail_after(seconds):
                async with self._alive(sent):
                    return await self._planned(asked, sent)
        except TimeoutError:
            late = DeadlineError(f"the plan took longer than {seconds:g} s (`plans.timeout`)")
            return _failed(late, sent)
        except GalerneError as error:
            return _failed(error, sent)
        except Exception as error:
            log.exception("a plan could not be made")
            bug = GalerneError(f"the planner failed inside: {type(error).__name__}")
            return _failed(bug, sent)

    async def _planned(self, asked: AskPlan, sent: "_Sent") -> PlanEnd:
        tools: Any = asked.tools
        if tools is None:
            tools = tuple((await self._services.directory.settled()).values())
        open_plan = self._planner.open(asked.goal, tools, asked.inputs or None, asked.history)
        async with open_plan as plan:
            sent.follow(plan, self._rung.prices)
            async for task in plan:
                await sent.task(task)
            return PlanEnd(count=sent.count, rejected=plan.rejected, usage=sent.usage)

    @asynccontextmanager
    async def _alive(self, sent: "_Sent") -> AsyncGenerator[None]:
        """Says that somebody works, now and whenever nothing else was said for a while."""
        every = self._settings.heartbeat

        async def beat() -> None:
            while True:
                if not sent.spoken:
                    await sent.say(PlanWorking(by=self._me, heartbeat=every))
                sent.spoken = False
                await anyio.sleep(every)

        async with background(beat):
            yield

    @asynccontextmanager
    async def _connected(self) -> AsyncGenerator[Any]:
        """The process's own client of the planner's model, which keeps the fleet's pace."""
        yield self._rung.model

    async def _send(self, request: Request, reply: PlanReply) -> None:
        """Raises TooLargeError; without a server there is nobody to send to."""
        headers = None
        if isinstance(reply, PlanEnd) and reply.error is not None:
            headers = error_headers(_NUMBERS.get(reply.error.code, 500), reply.error.message)
        with contextlib.suppress(TransientError):
            await self._bus.send(request.reply, encode(reply), headers=headers)


class _Sent:
    """What one asker was told so far. `spoken`: whether anything since the last heartbeat."""

    def __init__(self, send: Callable[[PlanReply], Awaitable[None]]) -> None:
        self.count = 0
        self.spoken = False
        self._send = send
        self._plan: PlanStream | None = None
        self._prices = Prices()

    def follow(self, plan: PlanStream, prices: Prices) -> None:
        self._plan, self._prices = plan, prices

    async def say(self, reply: PlanReply) -> None:
        self.spoken = True
        await self._send(reply)

    async def task(self, task: TaskSpec) -> None:
        await self.say(PlanTask(n=self.count + 1, task=task))
        self.count += 1

    @property
    def usage(self) -> Usage:
        """What the model has cost by now, by the prices of this worker."""
        if self._plan is None:
            return Usage()
        prices = self._prices
        models = {
            name: msgspec.structs.replace(
                used,
                usd=prices.cost(used.prompt_tokens, used.completion_tokens),
                input_price=prices.input,
                output_price=prices.output,
            )
            for name, used in self._plan.usage.models.items()
        }
        return Usage(models)


def _failed(error: GalerneError, sent: _Sent | None = None) -> PlanEnd:
    line = " ".join(str(error).split()).encode(errors="replace").decode()
    after = error.retry_after if isinstance(error, TransientError) else None
    count, usage = (0, Usage()) if sent is None else (sent.count, sent.usage)
    return PlanEnd(count=count, usage=usage, error=PlanError(error.code, line, after))
