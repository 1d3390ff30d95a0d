"""The process that reads for one call: it ends at its time, and with whoever waits for it."""

import os
import signal
from pathlib import Path
from typing import Any

import anyio
import pytest

from galerne.errors import InvalidSettingsError
from galerne.messages.tools import ToolRefused, ToolResult
from galerne.settings import DataSettings, ToolSettings
from galerne.tools import AnyTool
from galerne_tools.data import offer
from galerne_tools.data.offer import tools
from unit.tools.calls import call, refusal_of, value_of

pytestmark = pytest.mark.anyio

ENDLESS = "SELECT count(*) FROM range(1000000000000) t(a) WHERE a % 7 = 8"


def offered(root: Path, **fields: Any) -> dict[str, AnyTool]:
    settings = ToolSettings(root=str(root), data=DataSettings(enabled=True, **fields))
    return {made.spec.name: made for made in tools(settings)}


def children() -> list[int]:
    """Processes of this one that read data."""
    found: list[int] = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            words = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if parent == os.getpid() and b"galerne_tools.data.child" in words:
            found.append(int(folder.name))
    return found


async def until(count: int) -> list[int]:
    with anyio.fail_after(30):
        while len(found := children()) != count:
            await anyio.sleep(0.01)
    return found


def test_it_is_off_unless_the_settings_say_so(tmp_path: Path) -> None:
    assert tools(ToolSettings(root=str(tmp_path))) == []
    assert {name: made.spec.effect for name, made in offered(tmp_path).items()} == {
        "describe_data": "pure",
        "query_data": "pure",
    }


def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: str) -> None:
        return None

    monkeypatch.setattr(offer, "find_spec", missing)
    with pytest.raises(InvalidSettingsError, match=r"pip install 'galerne\[data\]'"):
        offered(tmp_path)


async def test_tables_are_described_and_queried(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("n,s\n1,x\n2,y\n")
    named = offered(tmp_path)
    (table,) = await value_of(named["describe_data"])
    assert table["table"] == "'a.csv'"
    assert table["columns"] == [{"name": "n", "type": "BIGINT"}, {"name": "s", "type": "VARCHAR"}]
    made = await value_of(named["query_data"], sql=f"SELECT sum(n) AS n FROM {table['table']}")
    assert made == {"columns": [{"name": "n", "type": "HUGEINT"}], "rows": [{"n": 3}]}
    assert (
        "not found" in (await refusal_of(named["query_data"], sql="SELECT m FROM 'a.csv'")).message
    )
    assert children() == []


async def test_rows_are_bounded_by_the_settings(tmp_path: Path) -> None:
    query = offered(tmp_path, rows=5)["query_data"]
    made = await value_of(query, sql="FROM range(9)")
    assert len(made["rows"]) == 5
    assert "only the first 5 rows" in made["note"]
    assert (await refusal_of(query, sql="FROM range(9)", max_rows=6)).code == "invalid_input"


async def test_what_takes_too_long_is_ended(tmp_path: Path) -> None:
    refused = await refusal_of(offered(tmp_path, seconds=0.5)["query_data"], sql=ENDLESS)
    assert "longer than 0.5 s" in refused.message
    assert children() == []


async def test_a_query_ends_with_its_call(tmp_path: Path) -> None:
    query = offered(tmp_path)["query_data"]
    process = 0
    async with anyio.create_task_group() as group:

        async def wait() -> None:
            await call(query, sql=ENDLESS)

        group.start_soon(wait)
        (process,) = await until(1)
        group.cancel_scope.cancel()
    await until(0)
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


async def test_a_process_that_is_killed_is_told_of(tmp_path: Path) -> None:
    query = offered(tmp_path)["query_data"]
    outcomes: list[ToolResult | ToolRefused] = []
    async with anyio.create_task_group() as group:

        async def wait() -> None:
            outcomes.append(await call(query, sql=ENDLESS))

        group.start_soon(wait)
        (process,) = await until(1)
        os.kill(process, signal.SIGKILL)
    (outcome,) = outcomes
    assert isinstance(outcome, ToolRefused)
    assert "ended without an answer" in outcome.message


async def test_nothing_takes_more_memory_than_allowed(tmp_path: Path) -> None:
    query = offered(tmp_path, memory=64 * 1024 * 1024, seconds=20)["query_data"]
    for sql in (
        "SELECT list(a) FROM range(1000000000) t(a)",
        "SELECT length(string_agg(repeat('x', 1000000), '')) FROM range(100000)",
        "SELECT repeat(repeat('x', 100000000), 100)",
        "SELECT list_transform(range(100000000), lambda x: x::VARCHAR)",
    ):
        refused = await refusal_of(query, sql=sql)
        assert refused.code == "tool", refused
        assert "memory" in refused.message, refused


async def test_secrets_of_the_worker_stay_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_TOKEN", "hunter2")
    query = offered(tmp_path)["query_data"]
    async with anyio.create_task_group() as group:

        async def wait() -> None:
            await call(query, sql=ENDLESS)

        group.start_soon(wait)
        (process,) = await until(1)
        assert b"hunter2" not in await anyio.Path(f"/proc/{process}/environ").read_bytes()
        group.cancel_scope.cancel()
