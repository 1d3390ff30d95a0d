"""The worker runtime: it takes tasks from lanes and runs the agents that serve them.

    delivery ─▶ (already in flight here: adopt its acknowledgement)
             ─▶ unusable: quarantine, failed
             ─▶ its tenant's turn for a place (`slots`) ─▶ run it (`task_run`) ─▶ acknowledged

SIGTERM: nothing new is taken, what waits for a place goes to other workers, what runs is finished
within the drain time and handed back after that.
"""

from collections.abc import Mapping

import anyio
import anyio.abc
import structlog

from galerne.agent import Agent
from galerne.bus.queue import Delivery
from galerne.errors import InvalidMessageError, TransientError
from galerne.faults import reach
from galerne.logs import get_logger
from galerne.messages.codec import decode_ready
from galerne.messages.facts import Lane, Ready
from galerne.messages.ids import TaskId
from galerne.messages.plan import Failed, Usage
from galerne.messages.subjects import JobAddress, TaskAddress
from galerne.runtime.ends import listen_for_drops, listen_for_ends
from galerne.runtime.in_flight import InFlight, TaskKey
from galerne.runtime.lanes import LanePull, Lanes
from galerne.runtime.quarantine import Quarantine
from galerne.runtime.services import Services
from galerne.runtime.slots import Slots
from galerne.runtime.task_run import TaskRunner
from galerne.settings import WorkerSettings

log = get_logger("galerne.runtime.worker")

LOOKS = 4
"""Looks at the leases in the time between two renewals of one: what a renewal may be late by."""
BUSY = 0.5
"""Seconds until a task is looked at again of which this process still ends an earlier attempt."""


class Worker:
    """Serves one lane with the agents for its kinds of tasks."""

    def __init__(
        self,
        me: str,
        lane: Lane,
        agents: Mapping[str, Agent],
        services: Services,
        settings: WorkerSettings,
    ) -> None:
        self._lane: Lane = lane
        self._agents = agents
        self._services = services
        self._settings = settings
        self._quarantine = Quarantine(services.bus, me, services.clock)
        self._runner = TaskRunner(me, services, settings, self._quarantine)
        self._slots = Slots(settings.concurrency, settings.heartbeat)
        self._lanes = Lanes(services.bus, lane, self._slots, self._on_delivery)
        self._in_flight: dict[TaskKey, InFlight] = {}
        self._delivered: dict[int, InFlight] = {}
        """The same by the sequences of their messages."""
        self._tasks: anyio.abc.TaskGroup | None = None
        self._handling = 0
        self._left = anyio.Event()
        self._stopping = False

    async def run(self, stop: anyio.Event, started: anyio.Event) -> None:
        """Serve until `stop` is set, then finish what is running within the drain time."""
        bus = self._services.bus
        await listen_for_ends(bus, self._concerns, self._stop_job)
        await listen_for_drops(bus, self._holds, self._stop_task)
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            tasks.start_soon(self._keep_leases, tasks)
            await tasks.start(self._lanes.run, tasks)
            started.set()
            log.info("serving", lane=self._lane, concurrency=self._settings.concurrency)
            await stop.wait()
            await self._drain()
            tasks.cancel_scope.cancel()

    async def _drain(self) -> None:
        self._stopping = True
        pulls = self._lanes.stop()
        log.info("draining", tasks=len(self._in_flight))
        for flight in list(self._in_flight.values()):
            flight.waiting.cancel()  # what has not begun goes to another worker at once
        await self._emptied(pulls, self._settings.drain)
        for flight in list(self._in_flight.values()):
            flight.scope.cancel()
        await self._emptied(pulls, 2.0)

    async def _emptied(self, pulls: list[LanePull], seconds: float) -> None:
        """Wait until nothing comes and nothing is held any more, at most so long."""
        with anyio.move_on_after(seconds):
            for pull in pulls:
                await pull.ended.wait()
            while self._handling:
                self._left = anyio.Event()
                await self._left.wait()

    async def _keep_leases(self, tasks: anyio.abc.TaskGroup) -> None:
        """One timer for all: most tasks are over before theirs would ring."""
        while True:
            await anyio.sleep(self._settings.heartbeat / LOOKS)
            now = anyio.current_time()
            for (address, task), flight in self._in_flight.items():
                if flight.due(now):
                    flight.keep_at = now + self._settings.heartbeat
                    tasks.start_soon(self._runner.keep, flight, address, task)

    def _on_delivery(self, delivery: Delivery, pull: LanePull) -> None:
        if self._tasks is None or self._adopted(delivery):
            pull.release()
        else:
            self._handling += 1
            self._tasks.start_soon(self._handle, delivery, pull)

    def _adopted(self, delivery: Delivery) -> bool:
        """Whether the delivery is of a task that is in flight here."""
        flight = self._delivered.get(delivery.sequence)
        if flight is None or flight.delivery.subject != delivery.subject:
            return False
        log.info("adopted a redelivery", subject=delivery.subject)
        flight.adopt(delivery)
        return True

    # one task

    async def _handle(self, delivery: Delivery, pull: LanePull) -> None:
        try:
            if self._stopping:
                delivery.retry()
            elif not self._adopted(delivery):  # again: two may have come before one was begun
                await self._handle_task(delivery, pull)
        except TransientError as error:
            log.warning("the bus is away: the task will come again", error=str(error))
            delivery.retry(1.0)
        except Exception:
            log.exception("a task could not be handled", subject=delivery.subject[:200])
            delivery.retry(5.0)
        finally:
            self._handling -= 1
            pull.release()
            self._left.set()

    async def _handle_task(self, delivery: Delivery, pull: LanePull) -> None:
        reach("task.received")
        try:
            place = self._services.bus.subjects.parse_task(delivery.subject)
        except InvalidMessageError as error:
            await self._quarantine.put(delivery.subject, delivery.data, str(error))
            delivery.discard(str(error))
            return
        address = self._services.bus.subjects.address(place.tenant, place.job)
        try:
            ready = decode_ready(place, delivery.data)
        except InvalidMessageError as error:
            await self._refuse(delivery, address, place, str(error))
            return
        agent = self._agents.get(ready.task.kind)
        if agent is None:
            why = f"no agent here does {ready.task.kind!r} tasks"
            await self._refuse(delivery, address, place, why)
            return
        if (address, place.task) in self._in_flight:
            delivery.retry(BUSY)
            return
        flight = InFlight(delivery, self._slots, pull.tenant, pull.priority)
        self._in_flight[address, place.task] = flight
        self._delivered[delivery.sequence] = flight
        # The flight's own asyncio task: nobody else sees what is bound here.
        structlog.contextvars.bind_contextvars(job=place.job, task=place.task)
        try:
            await self._run(flight, address, ready, agent, pull)
        finally:
            del self._in_flight[address, place.task], self._delivered[delivery.sequence]

    async def _run(
        self, flight: InFlight, address: JobAddress, ready: Ready, agent: Agent, pull: LanePull
    ) -> None:
        """Wait for a place, and run the task in it."""
        if not flight.place.take_now():
            with flight.waiting:
                await flight.place.take()
            if flight.waiting.cancelled_caught:
                flight.delivery.retry()
                return
        pull.begin()
        try:
            await self._runner.run(flight, address, ready, agent)
        finally:
            pull.end()
            flight.place.end()

    async def _refuse(
        self, delivery: Delivery, address: JobAddress, place: TaskAddress, error: str
    ) -> None:
        """A task message that nobody can use: kept, failed, and out of the queue."""
        await self._quarantine.put(delivery.subject, delivery.data, error)
        await self._runner.commit(address, place.task, Failed("invalid_message", error), 0, Usage())
        delivery.discard(error)

    # the job's end

    def _concerns(self, address: JobAddress) -> bool:
        return any(owner == address for owner, _ in self._in_flight)

    async def _stop_job(self, address: JobAddress) -> None:
        for (owner, _), flight in self._in_flight.items():
            if owner == address:
                flight.job_over = True
                flight.scope.cancel()

    def _holds(self, address: JobAddress, task: TaskId) -> bool:
        return (address, task) in self._in_flight

    def _stop_task(self, address: JobAddress, task: TaskId) -> None:
        flight = self._in_flight.get((address, task))
        if flight is not None:
            flight.job_over = True
            flight.scope.cancel()
