"""A process stopped past its lease: it cannot commit over its successor, nor pay for more."""

from collections import Counter
from pathlib import Path

import anyio
import pytest

from acceptance.fleet import Fleet, fleet
from galerne import Client
from galerne.bus.connection import connect
from galerne.bus.log import FactLog
from galerne.messages.facts import AnyFact, Claimed, Done
from galerne.messages.ids import DEFAULT_TENANT, JobId
from galerne.models.standin import LedgerEntry, read_ledger
from galerne.settings import BusSettings

pytestmark = pytest.mark.anyio

SLOW = ("--latency", "2.0")
GOAL = "Count the words in a.txt"


def started(running: Fleet, role: str = "executor") -> list[LedgerEntry]:
    found = read_ledger(running.ledger_file)
    return [entry for entry in found if (entry.event, entry.role) == ("started", role)]


async def facts_of(running: Fleet, job: str) -> list[AnyFact]:
    async with connect(BusSettings(server=running.nats.url), "observer") as bus:
        records = await FactLog(bus).read_job(bus.subjects.address(DEFAULT_TENANT, JobId(job)))
        return [record.fact for record in records if record.fact is not None]


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_a_stopped_executor_comes_back_too_late(tmp_path: Path) -> None:
    workers = ("coordinator-1", "planner-1", "executor-1", "tools-1")
    async with fleet(tmp_path, *workers, options=SLOW) as running:
        (running.files / "a.txt").write_text("one two three\n")
        with anyio.fail_after(150):
            async with Client.connect(running.nats.url) as client:
                job = await client.submit(GOAL)
                while not started(running):
                    await anyio.sleep(0.02)
                running.pause("executor-1")
                running.start_worker("executor-2")
                await running.serving("executor-2")
                while len(started(running)) < 2:  # the successor is in the same turn
                    await anyio.sleep(0.05)
                running.unpause("executor-1")
                answer = await job.result()
                while "stopped" not in running.log_of("executor-1"):
                    await anyio.sleep(0.05)
        assert "3" in str(answer)
        facts = await facts_of(running, job.id)
    zombie, heir = (f"-{running.process_id(name)}-" for name in ("executor-1", "executor-2"))
    claims = [fact for fact in facts if isinstance(fact, Claimed) and zombie in fact.by]
    assert {claim.attempt for claim in claims} == {1}
    (task,) = {claim.task for claim in claims}
    (done,) = [fact for fact in facts if isinstance(fact, Done) and fact.task == task]
    assert heir in done.by
    assert done.attempt == 2
    first, *others = Counter(entry.key for entry in started(running)).most_common()
    assert first == (f"{job.id}.{task}.1", 2)  # begun before it was stopped, and by its successor
    assert others
    assert {count for _, count in others} == {1}
