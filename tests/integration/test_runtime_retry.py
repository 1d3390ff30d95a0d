"""Retries: each class of error by its own policy, with pauses, and no longer than it may."""

from typing import Any

import msgspec
import pytest
import structlog.testing

from galerne.agent import TaskContext
from galerne.bus.log import FactLog
from galerne.errors import (
    BadAnswerError,
    BusyError,
    DeadlineError,
    GalerneError,
    ModelError,
    RateLimitedError,
    ToolError,
    TransientError,
    UnavailableError,
)
from galerne.messages.facts import AnyFact, Claimed
from galerne.messages.plan import Failed, Succeeded
from galerne.messages.subjects import JobAddress
from galerne.settings import Settings
from integration.fleet import Fleet, fleet_on, ready, until

pytestmark = pytest.mark.anyio


def with_worker(settings: Settings, **changes: Any) -> Settings:
    worker = msgspec.structs.replace(settings.worker, **changes)
    return msgspec.structs.replace(settings, worker=worker)


class Failing:
    """An agent that fails with `error` for the first `times` attempts (None: always)."""

    def __init__(self, error: Exception, times: int | None = None) -> None:
        self._error = error
        self._times = times
        self.attempts = 0

    async def __call__(self, _: TaskContext) -> Any:
        self.attempts += 1
        if self._times is None or self.attempts <= self._times:
            raise self._error
        return self.attempts


async def pauses(fleet: Fleet) -> list[float]:
    """Seconds between each giving back and the claim after it."""
    records = await fleet.facts.read(fleet.bus.subjects.job(fleet.address("job"), "run.1"))
    given_back = [one.at for one in records if isinstance(one.fact, Claimed) and not one.fact.until]
    taken = [one.at for one in records if isinstance(one.fact, Claimed) and one.fact.until]
    return [min(at for at in taken if at >= then) - then for then in given_back]


@pytest.mark.parametrize(
    ("error", "changes", "attempts"),
    [
        (DeadlineError("no answer"), {"retry_deadline": "0.01..0.02 x2"}, 2),
        (BadAnswerError("half a call"), {"retry_bad_answer": "0.01..0.02 x4"}, 4),
        (TransientError("strange"), {"retry_other": "0.01..0.02 x3"}, 3),
        (TransientError("strange"), {"retry_other": "0.01..0.02"}, 5),  # as the task may have
        (TransientError("strange"), {"retry_other": "0.01..0.02 x9"}, 5),
        (BadAnswerError("half a call"), {"retry_bad_answer": "0.01..0.02 x1"}, 1),
        (ModelError("no such model"), {}, 1),
        (ToolError("no such file"), {}, 1),
    ],
)
async def test_each_class_has_its_attempts(
    settings: Settings, error: GalerneError, changes: dict[str, Any], attempts: int
) -> None:
    failing = Failing(error)
    async with fleet_on(settings) as fleet:
        await fleet.worker(failing, settings=with_worker(settings, **changes))
        await fleet.put("job", ready("1", max_attempts=5))
        done = await fleet.done("job", "1")
        assert isinstance(done.outcome, Failed)
        assert done.outcome.code == error.code
        assert (done.attempt, failing.attempts) == (attempts, attempts)


@pytest.mark.parametrize(
    "error",
    [UnavailableError("not there"), RateLimitedError("slower"), BusyError("full")],
    ids=["unavailable", "rate_limited", "busy"],
)
async def test_who_is_away_is_waited_for_without_counting(
    settings: Settings, error: Exception
) -> None:
    failing = Failing(error, times=8)
    quick = with_worker(settings, retry_away="0.01..0.02")
    async with fleet_on(quick) as fleet:
        await fleet.worker(failing)
        await fleet.put("job", ready("1", max_attempts=1))
        done = await fleet.done("job", "1")
        assert (done.outcome, done.attempt) == (Succeeded(9), 9)


async def test_who_stays_away_fails_the_task_in_the_end(settings: Settings) -> None:
    failing = Failing(UnavailableError("not there"))
    brief = with_worker(settings, retry_away="0.05..0.1", outage=0.5)
    async with fleet_on(brief) as fleet:
        await fleet.worker(failing)
        await fleet.put("job", ready("1", max_attempts=1))
        outcome = (await fleet.done("job", "1")).outcome
        assert isinstance(outcome, Failed)
        assert outcome.code == "unavailable"
        assert failing.attempts > 2


async def test_pauses_grow_to_the_longest(settings: Settings) -> None:
    failing = Failing(TransientError("strange"))
    slow = with_worker(settings, retry_other="0.2..0.8")
    async with fleet_on(slow) as fleet:
        await fleet.worker(failing)
        await fleet.put("job", ready("1", max_attempts=5))
        await fleet.done("job", "1")
        least = [0.1, 0.2, 0.4, 0.4]  # the half of each, by the jitter
        found = await pauses(fleet)
        assert len(found) == 4
        assert all(one >= low - 0.05 for one, low in zip(found, least, strict=True)), found


@pytest.mark.parametrize(("chance", "pause"), [(0.0, 0.5), (1.0, 1.0)])
async def test_chance_spreads_the_retries(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, chance: float, pause: float
) -> None:
    """Between a half and the whole of what the policy says."""
    monkeypatch.setattr("galerne.runtime.task_run.random.random", lambda: chance)
    failing = Failing(DeadlineError("no answer"), times=1)
    async with fleet_on(settings) as fleet:
        with structlog.testing.capture_logs() as logs:
            slow = with_worker(settings, retry_deadline="1..1")
            await fleet.worker(failing, settings=slow)
            await fleet.put("job", ready("1"))
            assert (await fleet.done("job", "1")).outcome == Succeeded(2)
        (said,) = [one["seconds"] for one in logs if one["event"] == "a task is tried again"]
        assert said == pause


@pytest.mark.parametrize(
    "error",
    [
        RateLimitedError("slower", retry_after=0.7),
        UnavailableError("restarting", retry_after=0.7),
        BadAnswerError("busy tongue", retry_after=0.7),
    ],
)
async def test_the_pause_that_was_asked_for_is_kept(settings: Settings, error: Exception) -> None:
    failing = Failing(error, times=2)
    async with fleet_on(settings) as fleet:
        await fleet.worker(failing)
        await fleet.put("job", ready("1"))
        assert (await fleet.done("job", "1")).outcome == Succeeded(3)
        assert all(one > 0.65 for one in await pauses(fleet))


async def test_a_task_that_waits_for_its_retry_holds_no_place(settings: Settings) -> None:
    failing = Failing(RateLimitedError("slower", retry_after=60.0), times=1)

    async def doing(context: TaskContext) -> Any:
        return await failing(context) if context.ready.task.id == "1" else "quick"

    narrow = with_worker(settings, concurrency=1)
    async with fleet_on(narrow) as fleet:
        await fleet.worker(doing)
        await fleet.put("job", ready("1"))
        await fleet.put("job", ready("2"))
        assert (await fleet.done("job", "2")).outcome == Succeeded("quick")
        assert await fleet.find("job", "done.1") is None


async def test_a_retry_outlives_its_worker(settings: Settings) -> None:
    failing = Failing(BadAnswerError("half a call", retry_after=1.0), times=1)
    async with fleet_on(settings) as fleet:
        first = await fleet.worker(failing)
        await fleet.put("job", ready("1"))

        async def given_back() -> bool:
            claims = await fleet.claims("job", "1")
            return bool(claims) and claims[-1].until == 0

        await until(given_back, "it is given back")
        await first.kill()
        second = await fleet.worker(failing)
        done = await fleet.done("job", "1")
        assert (done.outcome, done.by) == (Succeeded(2), second.name)


async def test_a_claim_whose_acknowledgement_was_lost_costs_no_attempt(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = FactLog.append
    lost: list[int] = []

    async def losing(self: FactLog, address: JobAddress, fact: AnyFact, expected: int) -> int:
        sequence = await append(self, address, fact, expected)
        if isinstance(fact, Claimed) and len(lost) < 4:
            lost.append(fact.attempt)
            raise TransientError("the acknowledgement is lost")
        return sequence

    monkeypatch.setattr(FactLog, "append", losing)
    failing = Failing(DeadlineError("no answer"))
    async with fleet_on(settings) as fleet:
        await fleet.worker(failing)
        await fleet.put("job", ready("1", max_attempts=2))
        done = await fleet.done("job", "1")
        assert isinstance(done.outcome, Failed)
        assert done.outcome.code == "deadline"
        assert lost == [1, 2, 3, 4]
        assert failing.attempts == 2
