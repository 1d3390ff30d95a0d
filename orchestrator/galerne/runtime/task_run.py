"""One task, from its claim to its outcome.

    claim ─┬─ ours ─▶ agent, while the lease is renewed ─┬─ value, lasting failure: committed, acked
           │                                             ├─ passing failure: given back, later
           │                                             ├─ waits for a person: parked, acked
           │                                             ├─ its time is over: failed
           │                                             └─ fenced, job over: nothing is written
           ├─ held by another: later
           ├─ claimed too often: failed, and kept in quarantine
           └─ done already: acked

Commit before acknowledgement: the fact proves the work, the acknowledgement proves nothing.
"""

import random

import anyio
import anyio.lowlevel
import structlog

from galerne.agent import Agent
from galerne.core.claims import GiveUp, Wait
from galerne.core.decide import TIME_IS_OVER
from galerne.errors import (
    DeadlineError,
    FencedError,
    GalerneError,
    InvalidInputError,
    ParkedError,
    TransientError,
)
from galerne.faults import reach
from galerne.logs import get_logger
from galerne.messages.facts import Done, Ready
from galerne.messages.ids import TaskId
from galerne.messages.plan import Failed, Outcome, Succeeded, Usage
from galerne.messages.subjects import JobAddress
from galerne.retry import AWAY, RetryPolicy, policy_for
from galerne.runtime.attempt import Attempt
from galerne.runtime.blobs import LargeValues
from galerne.runtime.ends import is_over, is_settled
from galerne.runtime.in_flight import InFlight
from galerne.runtime.lease import Claims, Lease
from galerne.runtime.quarantine import Quarantine
from galerne.runtime.services import Services
from galerne.settings import WorkerSettings, retry_policies

log = get_logger("galerne.runtime.task")

Result = Outcome | TransientError | FencedError | ParkedError
ANSWERED = 0.5
"""Seconds until an answered task is looked at again, while its last attempt still leaves."""
LAST_WORD = 2.0
"""Seconds that a stopped attempt has to give its lease back."""


class TaskRunner:
    """Runs the tasks of one worker; `me` is its name."""

    def __init__(
        self, me: str, services: Services, settings: WorkerSettings, quarantine: Quarantine
    ) -> None:
        self._me = me
        self._services = services
        self._settings = settings
        self._quarantine = quarantine
        self._claims = Claims(services.facts, me, settings, services.clock)
        self._policies = retry_policies(settings)

    async def run(self, flight: InFlight, address: JobAddress, ready: Ready, agent: Agent) -> None:
        """To its acknowledgement. Raises TransientError where the bus is away."""
        if flight.job_over:
            flight.delivery.ack()
            return
        task = ready.task.id
        claimed = await self._claims.claim(address, task, flight.delivery, ready.max_attempts)
        match claimed:
            case None:
                flight.delivery.ack()
            case Wait(seconds=seconds):
                log.debug("held by another worker", seconds=seconds)
                flight.delivery.retry(min(seconds, ANSWERED) if ready.resume else seconds)
            case GiveUp(attempts=attempts, note=note):
                await self._give_up(flight, address, task, attempts, note)
            case Lease():
                reach("task.claimed")
                flight.lease = claimed
                flight.keep_at = self._services.bus.now() + self._settings.heartbeat
                structlog.contextvars.bind_contextvars(attempt=claimed.attempt)
                await self._run_leased(flight, claimed, address, ready, agent)

    async def keep(self, flight: InFlight, address: JobAddress, task: TaskId) -> None:
        """Renew a task's lease, or stop it: for its successor, or as nobody wants it.

        The live word of that may have been missed, so the log is asked.
        """
        with flight.keeping():
            try:
                if flight.lease is not None:
                    await flight.lease.keep()
            except FencedError as error:
                flight.fenced = error
                flight.scope.cancel()
                return
            facts = self._services.facts
            if await is_over(facts, address) or await is_settled(facts, address, task):
                flight.job_over = True
                flight.scope.cancel()

    async def commit(
        self, address: JobAddress, task: TaskId, outcome: Outcome, attempt: int, usage: Usage
    ) -> None:
        """Write the outcome, or that it cannot be stored; another that came first stands."""

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

    async def _give_up(
        self, flight: InFlight, address: JobAddress, task: TaskId, attempts: int, note: str
    ) -> None:
        """A task that may have killed its workers: out of the queue, and kept for a look."""
        outcome = Failed("attempts", f"given up after {attempts} attempts: {note}")
        await self._quarantine.put(flight.delivery.subject, flight.delivery.data, outcome.message)
        await self.commit(address, task, outcome, attempts, Usage())
        flight.delivery.discard(outcome.message)

    async def _run_leased(
        self, flight: InFlight, lease: Lease, address: JobAddress, ready: Ready, agent: Agent
    ) -> None:
        attempt = Attempt(
            self._services, address, ready, lease, self._settings.ask_timeout, flight.place
        )
        result: Result | None = None
        try:
            with flight.scope:
                result = await self._run_agent(address, ready, agent, attempt)
        finally:
            flight.let_go()
        usage = attempt.usage()
        result = flight.fenced or result
        match result:
            case Succeeded() | Failed():
                await self._finish(flight, lease, address, ready, result, usage)
            case ParkedError():
                await self._park(flight, lease, result)
            case TransientError():
                await self._try_later(flight, lease, address, ready, result, usage)
            case FencedError():
                log.warning("stopped", why=str(result))
            case None:
                await self._interrupted(flight, lease)

    async def _finish(
        self,
        flight: InFlight,
        lease: Lease,
        address: JobAddress,
        ready: Ready,
        outcome: Outcome,
        usage: Usage,
    ) -> None:
        """Commit, then acknowledge. A worker that slept through its lease looks first."""
        try:
            await lease.ensure()
        except FencedError as error:
            log.warning("stopped: its successor writes the outcome", why=str(error))
            return
        await self.commit(address, ready.task.id, outcome, lease.attempt, usage)
        flight.delivery.ack()

    async def _run_agent(
        self, address: JobAddress, ready: Ready, agent: Agent, attempt: Attempt
    ) -> Result:
        """Run the agent, no longer than its task may take."""
        large = self._services.large
        left = self._left(ready)
        if left is None:
            return await _outcome(agent, attempt, address, large)
        with anyio.move_on_after(left):
            await anyio.lowlevel.checkpoint()  # it may be over: then nothing is begun
            return await _outcome(agent, attempt, address, large)
        return Failed(DeadlineError.code, TIME_IS_OVER)

    def _left(self, ready: Ready) -> float | None:
        """Seconds until the task's own deadline."""
        return None if ready.deadline is None else max(0.0, ready.deadline - self._services.clock())

    async def _park(self, flight: InFlight, lease: Lease, why: ParkedError) -> None:
        """The question stands in the log; its answer queues the task anew."""
        log.info("parked", why=str(why))
        try:
            await lease.park(str(why))
        except FencedError as error:
            log.warning("stopped", why=str(error))
            return  # the message is its successor's
        except TransientError as error:
            log.debug("the lease runs out by itself", why=str(error))
        flight.delivery.ack()

    async def _interrupted(self, flight: InFlight, lease: Lease) -> None:
        """The job is over, or this worker is being stopped."""
        if flight.job_over:
            log.info("stopped: the job is over")
            flight.delivery.ack()
            return
        with anyio.move_on_after(LAST_WORD, shield=True):
            await self._give_back(lease, "its worker was stopped")
            flight.delivery.retry()

    async def _try_later(
        self,
        flight: InFlight,
        lease: Lease,
        address: JobAddress,
        ready: Ready,
        error: TransientError,
        usage: Usage,
    ) -> None:
        policy: RetryPolicy = policy_for(self._policies, error.code)
        excused = error.code in AWAY and lease.excuse()
        if not excused and not policy.may_try_again(lease.counted, ready.max_attempts):
            outcome = Failed(error.code, f"{error} (after {lease.attempt} attempts)")
            await self._finish(flight, lease, address, ready, outcome, usage)
            return
        jitter = random.random()  # noqa: S311 - spreads retries, hides nothing
        tries = lease.excused if excused else lease.counted
        delay = policy.delay(tries, jitter, error.retry_after)
        log.warning("a task is tried again", why=str(error), seconds=round(delay, 2))
        await self._give_back(lease, str(error))
        flight.delivery.retry(delay)

    async def _give_back(self, lease: Lease, note: str) -> None:
        try:
            await lease.give_back(note)
        except (FencedError, TransientError) as error:
            log.debug("the lease runs out by itself", why=str(error))


async def _outcome(
    agent: Agent, attempt: Attempt, address: JobAddress, large: LargeValues
) -> Result:
    """What came of the agent, as data, and small enough for `done`. Cancellation passes."""
    try:
        await attempt.load()
        attempt.ready = await large.opened(address, attempt.ready)
        value = await agent.run(attempt)
        await attempt.written()
        done = value if isinstance(value, Succeeded) else Succeeded(value)
        return await large.outcome(address, done)
    except (TransientError, FencedError, ParkedError) as error:
        return error
    except GalerneError as error:
        log.warning("a task failed", why=str(error))
        return Failed(error.code, str(error))
    except Exception as error:
        log.exception("an agent has a bug")
        return Failed("bug", f"the agent failed inside: {type(error).__name__}: {error}")
