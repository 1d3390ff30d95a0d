"""The worker runtime: it takes tasks from lanes and runs the agents that serve them.

    delivery ─▶ (already in flight here: adopt its acknowledgement)
             ─▶ slot ─▶ claim ─▶ journal ─▶ agent ─▶ done is committed ─▶ acknowledged
                          │                   ├─ permanent failure ─▶ done (failed)
                          │                   ├─ transient ─▶ lease given back, delivered later
                          │                   └─ fenced or job over ─▶ nothing is written
                          └─ held by another: later; claimed too often: done (failed)

Commit before acknowledgement: the fact proves the work, the acknowledgement proves nothing.
"""

import random
from collections.abc import Mapping

import anyio
import anyio.abc
import structlog

from galerne.agent import Agent
from galerne.bus.connection import Message
from galerne.bus.queue import Delivery, StandingPull
from galerne.bus.topology import lane_consumer
from galerne.core.claims import GiveUp, Wait, retry_delay
from galerne.errors import (
    BusyError,
    FencedError,
    GalerneError,
    InvalidInputError,
    InvalidMessageError,
    RateLimitedError,
    TransientError,
    UnavailableError,
)
from galerne.logs import get_logger
from galerne.messages.codec import decode_fact
from galerne.messages.facts import PRIORITIES, Done, Lane, Priority, Ready
from galerne.messages.ids import JobId, TaskId, TenantId
from galerne.messages.plan import Failed, Outcome, Succeeded, Usage
from galerne.messages.subjects import JobAddress, TaskAddress
from galerne.runtime.attempt import Attempt, Services
from galerne.runtime.lease import Claims, Lease
from galerne.runtime.quarantine import Quarantine
from galerne.runtime.slots import Slots
from galerne.settings import WorkerSettings

log = get_logger("galerne.runtime.worker")

AWAY = (UnavailableError, RateLimitedError, BusyError)
"""What is no fault of the task: its back end is not there, or asks for a pause."""
TaskKey = tuple[JobAddress, TaskId]


class InFlight:
    """A task that this process is at: the message to acknowledge, and the way to stop it."""

    def __init__(self, delivery: Delivery) -> None:
        self.delivery = delivery
        self.waiting = anyio.CancelScope()
        self.scope = anyio.CancelScope()
        self.job_over = False
        self.lease: Lease | None = None

    async def keep(self) -> None:
        await self.delivery.keep()

    def adopt(self, delivery: Delivery) -> None:
        """After a server restart our own task comes again: its new acknowledgement counts."""
        self.delivery = delivery
        if self.lease is not None:
            self.lease.delivery = delivery


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
        self._me = me
        self._lane: Lane = lane
        self._agents = agents
        self._services = services
        self._settings = settings
        self._claims = Claims(services.facts, me, settings, services.clock)
        self._quarantine = Quarantine(services.bus, me, services.clock)
        self._slots = Slots(settings.concurrency, settings.heartbeat)
        self._in_flight: dict[TaskKey, InFlight] = {}
        self._left = anyio.Event()
        self._stopping = False

    async def run(self, stop: anyio.Event, started: anyio.Event) -> None:
        """Serve until `stop` is set, then finish what is running within the drain time."""
        await self._listen_for_ends()
        async with anyio.create_task_group() as tasks:
            pulls = [self._pull(priority, tasks) for priority in PRIORITIES]
            for pull in pulls:
                tasks.start_soon(pull.run)
            started.set()
            log.info("serving", lane=self._lane, concurrency=self._settings.concurrency)
            await stop.wait()
            await self._drain(pulls)
            tasks.cancel_scope.cancel()

    async def _drain(self, pulls: list[StandingPull]) -> None:
        self._stopping = True
        for pull in pulls:
            pull.stop()
        log.info("draining", tasks=len(self._in_flight))
        for flight in list(self._in_flight.values()):
            flight.waiting.cancel()  # what has not begun goes to another worker at once
        await self._emptied(pulls, self._settings.drain)
        for flight in list(self._in_flight.values()):
            flight.scope.cancel()
        await self._emptied(pulls, 2.0)

    async def _emptied(self, pulls: list[StandingPull], seconds: float) -> None:
        """Wait until nothing comes and nothing is held any more, at most so long."""
        with anyio.move_on_after(seconds):
            for pull in pulls:
                await pull.ended.wait()
            while any(pull.held for pull in pulls):
                self._left = anyio.Event()
                await self._left.wait()

    def _pull(self, priority: Priority, tasks: anyio.abc.TaskGroup) -> StandingPull:
        async def on_delivery(delivery: Delivery) -> None:
            if self._adopted(delivery):
                pull.release()
                self._left.set()
            else:
                tasks.start_soon(self._handle, delivery, priority, pull)

        pull = StandingPull(
            self._services.bus,
            self._services.bus.subjects.stream("TASKS"),
            lane_consumer(self._lane, priority),
            self._settings.concurrency,
            on_delivery,
            manual=True,
        )
        return pull

    def _adopted(self, delivery: Delivery) -> bool:
        """Whether the delivery is of a task that is in flight here."""
        subjects = self._services.bus.subjects
        try:
            place = subjects.parse_task(delivery.subject)
        except InvalidMessageError:
            return False
        address = subjects.address(place.tenant, place.job)
        flight = self._in_flight.get((address, place.task))
        if flight is None:
            return False
        log.info("adopted a redelivery", job=place.job, task=place.task)
        flight.adopt(delivery)
        return True

    # one task

    async def _handle(self, delivery: Delivery, priority: Priority, pull: StandingPull) -> None:
        try:
            if self._stopping:
                await delivery.retry()
            elif not self._adopted(delivery):  # again: two may have come before one was begun
                await self._handle_task(delivery, priority)
        except TransientError as error:
            log.warning("the bus is away: the task will come again", error=str(error))
            await delivery.retry(1.0)
        except Exception:
            log.exception("a task could not be handled", subject=delivery.subject[:200])
            await delivery.retry(5.0)
        finally:
            pull.release()
            self._left.set()

    async def _handle_task(self, delivery: Delivery, priority: Priority) -> None:
        try:
            place = self._services.bus.subjects.parse_task(delivery.subject)
        except InvalidMessageError as error:
            await self._quarantine.put(delivery.subject, delivery.data, str(error))
            await delivery.discard(str(error))
            return
        address = self._services.bus.subjects.address(place.tenant, place.job)
        try:
            fact = decode_fact(_ready_name(place), delivery.data)
            ready = fact if isinstance(fact, Ready) else None
        except InvalidMessageError as error:
            await self._refuse(delivery, address, place, str(error))
            return
        agent = self._agents.get(ready.task.kind) if ready else None
        if ready is None or agent is None:
            kind = ready.task.kind if ready else "unknown"
            await self._refuse(delivery, address, place, f"no agent here does {kind!r} tasks")
            return
        flight = self._in_flight[address, place.task] = InFlight(delivery)
        try:
            with structlog.contextvars.bound_contextvars(job=place.job, task=place.task):
                with flight.waiting:
                    await self._slots.take(priority, flight.keep)
                if flight.waiting.cancelled_caught:
                    await flight.delivery.retry()
                    return
                try:
                    await self._claim_and_run(flight, address, ready, agent)
                finally:
                    self._slots.give()
        finally:
            del self._in_flight[address, place.task]

    async def _refuse(
        self, delivery: Delivery, address: JobAddress, place: TaskAddress, error: str
    ) -> None:
        """A task message that nobody can use: kept, failed, and out of the queue."""
        await self._quarantine.put(delivery.subject, delivery.data, error)
        await self._commit(address, place.task, Failed("invalid_message", error), 0, Usage())
        await delivery.discard(error)

    async def _claim_and_run(
        self, flight: InFlight, address: JobAddress, ready: Ready, agent: Agent
    ) -> None:
        if flight.job_over:
            await flight.delivery.ack()
            return
        task = ready.task.id
        claimed = await self._claims.claim(address, task, flight.delivery, ready.max_attempts)
        match claimed:
            case None:
                await flight.delivery.ack()
            case Wait(seconds=seconds):
                log.debug("held by another worker", seconds=seconds)
                await flight.delivery.retry(seconds)
            case GiveUp(attempts=attempts, note=note):
                outcome = Failed("attempts", f"given up after {attempts} attempts: {note}")
                await self._commit(address, task, outcome, attempts, Usage())
                await flight.delivery.discard(outcome.message)
            case Lease():
                flight.lease = claimed
                with structlog.contextvars.bound_contextvars(attempt=claimed.attempt):
                    await self._run_leased(flight, claimed, address, ready, agent)

    async def _run_leased(
        self, flight: InFlight, lease: Lease, address: JobAddress, ready: Ready, agent: Agent
    ) -> None:
        result: Outcome | TransientError | FencedError | None = None
        usage = Usage()
        with flight.scope:
            result, usage = await self._run_agent(lease, address, ready, agent)
        match result:
            case Succeeded() | Failed():
                await self._commit(address, ready.task.id, result, lease.attempt, usage)
                await flight.delivery.ack()
            case TransientError():
                await self._try_later(flight, lease, address, ready, result, usage)
            case FencedError():
                log.warning("stopped", why=str(result))
            case None:
                await self._interrupted(flight, lease)

    async def _run_agent(
        self, lease: Lease, address: JobAddress, ready: Ready, agent: Agent
    ) -> tuple[Outcome | TransientError | FencedError, Usage]:
        """Run the agent while the lease is renewed."""
        fenced: list[FencedError] = []
        result: Outcome | TransientError | FencedError | None = None
        attempt = Attempt(self._services, address, ready, lease)
        async with anyio.create_task_group() as tasks:

            async def keep() -> None:
                try:
                    await lease.keep()
                except FencedError as error:
                    fenced.append(error)
                    tasks.cancel_scope.cancel()

            attempt.within(tasks)
            tasks.start_soon(keep)
            result = await _outcome(agent, attempt)
            tasks.cancel_scope.cancel()
        usage = attempt.usage()
        if fenced or result is None:
            return fenced[0], usage
        return result, usage

    async def _interrupted(self, flight: InFlight, lease: Lease) -> None:
        """The job is over, or this worker is being stopped."""
        if flight.job_over:
            log.info("stopped: the job is over")
            await flight.delivery.ack()
            return
        with anyio.move_on_after(2.0, shield=True):
            await self._give_back(lease, "its worker was stopped")
            await flight.delivery.retry()

    async def _try_later(
        self,
        flight: InFlight,
        lease: Lease,
        address: JobAddress,
        ready: Ready,
        error: TransientError,
        usage: Usage,
    ) -> None:
        excused = isinstance(error, AWAY) and lease.excuse()
        if not excused and lease.counted >= ready.max_attempts:
            outcome = Failed(error.code, f"{error} (after {lease.attempt} attempts)")
            await self._commit(address, ready.task.id, outcome, lease.attempt, usage)
            await flight.delivery.ack()
            return
        jitter = random.random()  # noqa: S311 - spreads retries, hides nothing
        tries = lease.excused if excused else lease.counted
        delay = retry_delay(tries, self._settings.retry_delay, jitter, error.retry_after)
        log.warning("a task is tried again", why=str(error), seconds=round(delay, 2))
        await self._give_back(lease, str(error))
        await flight.delivery.retry(delay)

    async def _give_back(self, lease: Lease, note: str) -> None:
        try:
            await lease.give_back(note)
        except (FencedError, TransientError) as error:
            log.debug("the lease runs out by itself", why=str(error))

    async def _commit(
        self, address: JobAddress, task: TaskId, outcome: Outcome, attempt: int, usage: Usage
    ) -> None:
        def done(outcome: Outcome) -> Done:
            now = self._services.clock()
            return Done(
                task=task, outcome=outcome, usage=usage, by=self._me, attempt=attempt, at=now
            )

        try:
            stands = await self._services.facts.write(address, done(outcome))
        except InvalidInputError as error:  # too large, or no JSON
            failed = Failed(error.code, f"the task's result cannot be stored: {error}")
            stands = await self._services.facts.write(address, done(failed))
        if stands is not None:
            log.warning("another worker was first: its outcome stands")

    # the job's end

    async def _listen_for_ends(self) -> None:
        subjects = self._services.bus.subjects

        async def on_end(message: Message) -> None:
            tenant, job = message.subject.split(".")[-3:-1]
            address = subjects.address(TenantId(tenant), JobId(job))
            concerned = [
                flight for (owner, _), flight in self._in_flight.items() if owner == address
            ]
            if concerned and await self._is_over(address):
                log.debug("a job is over", job=job)
                for flight in concerned:
                    flight.job_over = True
                    flight.scope.cancel()

        for name in ("cancel", "end"):
            await self._services.bus.subscribe(subjects.live("*", "*", name), on_end)

    async def _is_over(self, address: JobAddress) -> bool:
        """Whether the log says so: anybody may say anything on a live subject."""
        try:
            for name in ("cancel", "end"):
                if await self._services.facts.last(address, name) is not None:
                    return True
        except TransientError as error:
            log.debug("nobody knows whether a job is over", error=str(error))
        return False


async def _outcome(agent: Agent, attempt: Attempt) -> Outcome | TransientError | FencedError:
    """What came of the agent, as data. Cancellation passes."""
    try:
        await attempt.load_journal()
        value = await agent.run(attempt)
        await attempt.written()
    except (TransientError, FencedError) as error:
        return error
    except GalerneError as error:
        log.warning("a task failed", why=str(error))
        return Failed(error.code, str(error))
    except Exception as error:
        log.exception("an agent has a bug")
        return Failed("bug", f"the agent failed inside: {type(error).__name__}: {error}")
    return Succeeded(value)


def _ready_name(place: TaskAddress) -> str:
    return f"ready.{place.lane}.{place.priority}.{place.task}"
