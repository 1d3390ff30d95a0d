"""A back end that is away costs a task time, and none of its attempts."""

from typing import Any

import msgspec
import pytest

from galerne.agent import TaskContext
from galerne.errors import BusyError, RateLimitedError, TransientError, UnavailableError
from galerne.messages.plan import Failed, Succeeded
from galerne.settings import Settings
from integration.fleet import fleet_on, ready

pytestmark = pytest.mark.anyio


def patient(settings: Settings, outage: float) -> Settings:
    worker = msgspec.structs.replace(settings.worker, outage=outage, retry_away="0.01..30")
    return msgspec.structs.replace(settings, worker=worker)


@pytest.mark.parametrize("away", [UnavailableError, RateLimitedError, BusyError])
async def test_more_tries_than_attempts_while_the_back_end_is_away(
    settings: Settings, away: type[TransientError]
) -> None:
    tries = 0

    async def work(_: TaskContext) -> Any:
        nonlocal tries
        tries += 1
        if tries <= 5:
            raise away("nothing answers at http://127.0.0.1:9")
        return "there again"

    async with fleet_on(patient(settings, 3600.0)) as fleet:
        await fleet.worker(work)
        await fleet.put("job", ready("t", max_attempts=2))
        done = await fleet.done("job", "t")
        assert done.outcome == Succeeded("there again")
        assert done.attempt == 6
        last = (await fleet.claims("job", "t"))[-1]
        assert last.excused == 5
        assert last.away_since is not None


async def test_an_outage_that_lasts_too_long_fails_the_task_with_its_reason(
    settings: Settings,
) -> None:
    async def work(_: TaskContext) -> Any:
        raise UnavailableError("nothing answers at http://127.0.0.1:9")

    async with fleet_on(patient(settings, 0.05)) as fleet:
        await fleet.worker(work)
        await fleet.put("job", ready("t", max_attempts=1))
        outcome = (await fleet.done("job", "t")).outcome
        assert isinstance(outcome, Failed)
        assert outcome.code == "unavailable"
        assert outcome.message.startswith("nothing answers at http://127.0.0.1:9 (after ")


async def test_other_passing_failures_still_count(settings: Settings) -> None:
    async def work(_: TaskContext) -> Any:
        raise TransientError("the stream was cut")

    async with fleet_on(patient(settings, 3600.0)) as fleet:
        await fleet.worker(work)
        await fleet.put("job", ready("t", max_attempts=2))
        outcome = (await fleet.done("job", "t")).outcome
        assert outcome == Failed("transient", "the stream was cut (after 2 attempts)")
