"""A model whose every tool call is broken or leaks as text: the job succeeds all the same."""

from pathlib import Path

import anyio
import pytest

from acceptance.fleet import fleet
from galerne import Client
from galerne.bus.connection import connect
from galerne.bus.log import FactLog
from galerne.messages.facts import ModelStep, ToolStep
from galerne.settings import BusSettings

pytestmark = pytest.mark.anyio

ROLES = ("coordinator-1", "planner-1", "executor-1", "tools-1")


@pytest.mark.timeout(120)
async def test_a_job_succeeds_although_no_call_comes_as_it_should(tmp_path: Path) -> None:
    async with fleet(tmp_path, *ROLES, options=("--faults", "malformed_call")) as running:
        (running.files / "two.txt").write_text("two words\n")
        with anyio.fail_after(60):
            async with Client.connect(running.nats.url) as client:
                job = await client.submit("Count the words in two.txt")
                answer = await job.result()
            async with connect(BusSettings(server=running.nats.url), "audit") as bus:
                records = await FactLog(bus).read(bus.subjects.events(rest="step.*.*"))
    assert "two.txt has 2 words" in str(answer)
    assert "I cannot" not in str(answer)
    facts = [record.fact for record in records]
    complaints = [fact.complaint for fact in facts if isinstance(fact, ModelStep)]
    assert "your call of 'text_stats' was cut before its end" in complaints
    tools = [fact for fact in facts if isinstance(fact, ToolStep)]
    assert tools
    assert not any(tool.is_error for tool in tools)
    assert "[TOOL_CALLS]" not in "".join(map(repr, facts))
