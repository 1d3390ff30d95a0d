"""Tool workers in other languages that answer with content which is not what they say, or where."""

import anyio
import pytest

from galerne.bus.job_blobs import JobBlobs
from galerne.messages.blobs import Blob, to_value
from galerne.messages.facts import Ready
from galerne.messages.ids import DEFAULT_TENANT
from galerne.messages.plan import Failed, TaskSpec
from galerne.messages.tools import ToolResult
from galerne.settings import Settings
from integration.fleet import Fleet, agent, fleet_on
from integration.strangers import stranger
from integration.test_claim_check import MB, call, direct, measure, planner

pytestmark = pytest.mark.anyio


async def claiming(fleet: Fleet, claim: Blob) -> str:
    """What becomes of the task that is given the claimed content as a text."""

    def plan(_: Ready) -> list[TaskSpec]:
        return [call("1", "odd"), call("2", "measure", "1", text={"$ref": "1"})]

    await stranger(fleet, ToolResult(value=to_value(claim), content="a long report"))
    await fleet.coordinator()
    await fleet.planner(planner(plan, "2"))
    await fleet.worker({"tool": agent(direct, kinds=("tool",))})
    await fleet.tools(measure)
    await fleet.submit("job")
    with anyio.fail_after(60):
        outcome = (await fleet.done("job", "2")).outcome
        end = await fleet.end("job")
    assert isinstance(outcome, Failed), outcome
    assert outcome.message in (end.error or "")
    assert "\n" not in outcome.message
    return outcome.message


async def test_content_that_nobody_put_there(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        assert "no content aaaa" in await claiming(fleet, Blob("a" * 64, 3))


async def test_content_that_is_far_longer_than_it_was_said_to_be(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        store = JobBlobs(fleet.bus, DEFAULT_TENANT, "job")
        real = await store.put_bytes(b"x" * (40 * MB))
        said = await claiming(fleet, Blob(real.sha256, 10))
        assert f"no content {real.sha256} of 10 bytes" in said


async def test_content_that_is_too_long_to_be_read_as_a_value(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        store = JobBlobs(fleet.bus, DEFAULT_TENANT, "job")
        real = await store.put_bytes(b"x" * (40 * MB), media="text/plain")
        assert "16 MB" in await claiming(fleet, real)
