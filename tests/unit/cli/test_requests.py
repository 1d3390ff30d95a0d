"""What the command line says of jobs that are not there, and what a client refuses to send."""

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from galerne.bus.log import FactLog
from galerne.cli.main import main
from galerne.client import Client
from galerne.client.queued import require
from galerne.errors import InvalidInputError, NotFoundError
from galerne.messages.ids import JobId, TenantId
from galerne.messages.subjects import Subjects
from galerne.request import build

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


def test_tools_are_names() -> None:
    assert build(JobId("j"), "g", tools=["a-B_9", "x" * 64]).tools == ("a-B_9", "x" * 64)
    assert build(JobId("j"), "g", tools=[]).tools == ()


@pytest.mark.parametrize("name", ["", "a b", "a.*", "x" * 65, "\u00e9", "a\n", 5, None])
def test_a_tool_that_is_no_name_is_not_sent(name: Any) -> None:
    with pytest.raises(InvalidInputError) as caught:
        build(JobId("j"), "g", tools=["fine", name])
    assert repr(name)[:60] in str(caught.value)


def test_a_tenant_without_jobs_is_told_of_other_tenants(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Nobody:
        async def jobs(self, limit: int) -> list[Any]:
            assert limit == 20
            return []

    @asynccontextmanager
    async def connect(**_: Any) -> "AsyncGenerator[Nobody]":
        yield Nobody()

    monkeypatch.setattr(Client, "connect", connect)
    assert main(["jobs", "--server", "nats://127.0.0.1:1"]) == 0
    said = capsys.readouterr()
    assert "tenant default has no jobs (another tenant's: --tenant NAME)" in said.err + said.out


@pytest.mark.anyio
async def test_a_job_that_is_not_there_may_be_another_tenants(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def nothing(*_: Any) -> None:
        return None

    monkeypatch.setattr(FactLog, "last", nothing)
    monkeypatch.setattr("galerne.client.queued._in_queue", nothing)

    class NoBus:
        subjects = Subjects("galerne", 8)

    bus: Any = NoBus()
    address = bus.subjects.address(TenantId("default"), JobId("j"))
    with pytest.raises(NotFoundError, match=r"no job j of tenant default .*--tenant NAME"):
        await require(bus, address)
