"""Numbers that no result says, from workers over a real log to the job's end."""

from typing import Any

import pytest

from galerne.agent import TaskContext
from galerne.messages.blobs import is_blob
from galerne.messages.facts import Done
from galerne.messages.plan import Succeeded
from galerne.settings import Settings
from integration.fleet import agent, fleet_on, planning, task

pytestmark = pytest.mark.anyio


async def test_what_no_result_says_stands_beside_the_answer(settings: Settings) -> None:
    """Also of a result that is put aside, as it is too large for its fact."""
    values = {"1": "a" * 2 * settings.bus.inline, "2": "302"}

    async def marking(context: TaskContext) -> Any:
        name = context.ready.task.id
        return Succeeded(values[name], (name,))

    async def answering(context: TaskContext) -> Any:
        given = context.ready.inputs.values()
        return Succeeded("302", tuple(number for one in given for number in one["unsupported"]))

    agents = {
        "plan": planning(task("1"), task("2")),
        "answer": agent(answering, lane="planner", kinds=("answer",)),
    }
    async with fleet_on(settings) as fleet:
        await fleet.coordinator()
        await fleet.worker(agents, lane="planner")
        await fleet.worker(marking)
        await fleet.submit("job-1")
        assert (await fleet.end("job-1")).unsupported == ("1", "2")
        one = await fleet.find("job-1", "done.1")
        assert isinstance(one, Done)
        assert isinstance(one.outcome, Succeeded)
        assert is_blob(one.outcome.value)
        assert one.outcome.unsupported == ("1",)
