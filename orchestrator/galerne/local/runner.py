"""One task, from its claim to its outcome.

    claim ─▶ agent ─┬─ value, lasting failure: written
                    ├─ passing failure: a pause without its place, then the next attempt
                    └─ waits for a person: parked; the answer makes the task ready again

The claims and their counting are `core.claims`, the pauses `galerne.retry`, as in the fleet.
"""

from typing import Any

import anyio
import msgspec

from galerne.core.claims import GiveUp, Take, excuse, judge_claim, park
from galerne.errors import GalerneError, InvalidInputError, ParkedError, TransientError
from galerne.local.attempt import Attempt
from galerne.local.work import ME, Work
from galerne.logs import get_logger
from galerne.messages.codec import encode
from galerne.messages.facts import Claimed, Done, Ready
from galerne.messages.ids import TaskId
from galerne.messages.plan import Failed, Outcome, Succeeded
from galerne.retry import AWAY, policy_for

log = get_logger("galerne.local")

_HELD = 86_400.0
"""Seconds that a claim names: nobody else is there who could take the task over."""

Result = Outcome | TransientError | ParkedError


class Runner:
    """Runs the tasks of one run."""

    def __init__(self, work: Work) -> None:
        self._work = work

    async def run(self, ready: Ready) -> None:
        """To its outcome, or until it waits for a person."""
        while True:
            async with self._work.slots[ready.lane]:
                pause = await self._attempt(ready)
            if pause is None:
                return
            await anyio.sleep(pause)

    async def _attempt(self, ready: Ready) -> float | None:
        """Seconds until the next one; None: there is none."""
        task = ready.task.id
        claim = self._claim(ready)
        if claim is None:
            return None
        held = _Held(claim)
        result = await self._result(ready, claim.attempt, held)
        match result:
            case Succeeded() | Failed():
                self._commit(task, result, claim.attempt)
            case ParkedError():
                self._give_back(park(held.claim), str(result))
            case TransientError():
                return self._pause(ready, held.claim, result)
        return None

    def _claim(self, ready: Ready) -> Claimed | None:
        task, now = ready.task.id, self._work.clock()
        last = self._work.log.state.claims.get(task)
        match judge_claim(last, ME, now, 0.0, ready.max_attempts):
            case Take(attempt=attempt, excused=excused, away_since=away_since):
                claim = Claimed(
                    task=task,
                    by=ME,
                    until=now + _HELD,
                    attempt=attempt,
                    excused=excused,
                    away_since=away_since,
                )
                self._work.log.write(claim)
                return claim
            case GiveUp(attempts=attempts, note=note):
                outcome = Failed("attempts", f"given up after {attempts} attempts: {note}")
                self._commit(task, outcome, attempts)
                return None
            case _:
                raise AssertionError("a task here is claimed by nobody else")

    async def _result(self, ready: Ready, attempt: int, held: "_Held") -> Result:
        """What came of the agent, as data. Cancellation passes."""
        work = self._work
        try:
            context = Attempt(work, ready, attempt, held.back_end_answered)
            context.ready = await work.blobs.opened(ready)
            value = await work.agent_of(ready).run(context)
            context.written()
            done = value if isinstance(value, Succeeded) else Succeeded(value)
            fitted = await work.blobs.fitted(_plain(done.value))
            return msgspec.structs.replace(done, value=fitted)
        except (TransientError, ParkedError) as error:
            return error
        except GalerneError as error:
            log.info("a task failed", task=ready.task.id, why=str(error))
            return Failed(error.code, str(error))
        except Exception as error:
            log.exception("an agent has a bug", task=ready.task.id)
            return Failed("bug", f"the agent failed inside: {type(error).__name__}: {error}")

    def _pause(self, ready: Ready, claim: Claimed, error: TransientError) -> float | None:
        """Seconds until the next attempt; None where there is none, and the task has failed."""
        work = self._work
        policy = policy_for(work.policies, error.code)
        excused = None
        if error.code in AWAY:
            excused = excuse(claim, work.clock(), work.settings.worker.outage)
        claim = excused or claim
        counted = claim.attempt - claim.excused
        if excused is None and not policy.may_try_again(counted, ready.max_attempts):
            outcome = Failed(error.code, f"{error} (after {claim.attempt} attempts)")
            self._commit(ready.task.id, outcome, claim.attempt)
            return None
        tries = counted if excused is None else claim.excused
        pause = policy.delay(tries, work.jitter(), error.retry_after)
        log.warning(
            "a task is tried again", task=claim.task, why=str(error), seconds=round(pause, 2)
        )
        self._give_back(claim, str(error))
        return pause

    def _give_back(self, claim: Claimed, note: str) -> None:
        self._work.log.write(msgspec.structs.replace(claim, until=0.0, note=note))

    def _commit(self, task: TaskId, outcome: Outcome, attempt: int) -> None:
        usage, now = self._work.usage_of(task), self._work.clock()
        self._work.log.write(
            Done(task=task, outcome=outcome, usage=usage, by=ME, attempt=attempt, at=now)
        )


class _Held:
    """A claim while its attempt goes on."""

    def __init__(self, claim: Claimed) -> None:
        self.claim = claim

    def back_end_answered(self) -> None:
        """It is there: whatever was excused before is over."""
        self.claim = msgspec.structs.replace(self.claim, away_since=None)


def _plain(value: Any) -> Any:
    """A task's value as it would come out of a log. Raises InvalidInputError: it is no JSON."""
    try:
        return msgspec.json.decode(encode(value))
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidInputError(f"the task's result cannot be stored: {error}") from error
