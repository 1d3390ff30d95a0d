"""`galerne mcp` under fastmcp's client, which nobody here wrote: over stdio and over HTTP."""

import os
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream
from fastmcp import Client
from fastmcp.client.transports import StdioTransport
from mcp_types import TextContent

from acceptance.fleet import fleet

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

GOAL = "Count the words in poem.txt"


def own_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("GALERNE_")}


@asynccontextmanager
async def host(server: str) -> AsyncGenerator[Client[Any]]:
    transport = StdioTransport(
        sys.executable, ["-m", "galerne", "mcp", "--server", server], env=own_environment()
    )
    with anyio.fail_after(60):
        async with Client(transport) as client:
            yield client


async def refusal(client: Client[Any], tool: str, **arguments: Any) -> str:
    answer = await client.call_tool(tool, arguments, raise_on_error=False)
    assert answer.is_error, answer
    (part,) = answer.content
    assert isinstance(part, TextContent)
    assert "\n" not in part.text
    return part.text


async def answered(client: Client[Any], tool: str, **arguments: Any) -> dict[str, Any]:
    answer = await client.call_tool(tool, arguments)
    assert answer.structured_content is not None
    return answer.structured_content


async def test_a_host_submits_watches_and_reads_the_result(tmp_path: Path) -> None:
    told: list[tuple[float, str]] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        assert total is None or progress <= total
        told.append((progress, message or ""))

    async with fleet(tmp_path, "coordinator-1", "planner-1", "executor-1", "tools-1") as running:
        (running.files / "poem.txt").write_text("one two three four\n")
        async with host(running.nats.url) as client:
            listed = {tool.name: tool for tool in await client.list_tools()}
            assert set(listed) == {
                "submit_job",
                "watch_job",
                "job_result",
                "cancel_job",
                "list_jobs",
            }
            assert all(tool.description for tool in listed.values())

            job = (await answered(client, "submit_job", goal=GOAL, key="poem"))["job"]
            again = (await answered(client, "submit_job", goal=GOAL, key="poem"))["job"]
            assert again == job

            watched = await client.call_tool(
                "watch_job", {"job": job, "seconds": 50}, progress_handler=hear
            )
            assert watched.structured_content is not None
            assert watched.structured_content["status"] == "succeeded"
            assert told
            assert told[-1][1].startswith("3 of 3 tasks done")
            assert [progress for progress, _ in told] == sorted({value for value, _ in told})

            result = (await answered(client, "job_result", job=job))["result"]
            assert "4 words" in result
            assert "cannot be cancelled" in await refusal(client, "cancel_job", job=job)
            (one,) = (await answered(client, "list_jobs"))["jobs"]
            assert (one["job"], one["status"]) == (job, "succeeded")
            assert "there is no job" in await refusal(client, "job_result", job="nobody")


async def test_a_watch_is_bounded_and_a_waiting_job_can_be_cancelled(tmp_path: Path) -> None:
    async with fleet(tmp_path, "coordinator-1") as running, host(running.nats.url) as client:
        job = (await answered(client, "submit_job", goal=GOAL))["job"]
        seen = await answered(client, "watch_job", job=job, seconds=0.2)
        assert seen["status"] in {"queued", "running"}
        assert seen["next"] == "watch_job follows it further"
        assert "use watch_job" in await refusal(client, "job_result", job=job)
        await answered(client, "cancel_job", job=job, why="enough")
        ended = await answered(client, "watch_job", job=job, seconds=50)
        assert ended["status"] == "cancelled"
        assert "ended as cancelled" in await refusal(client, "job_result", job=job)


async def test_without_a_bus_each_call_says_so_and_the_server_lives() -> None:
    async with host("nats://127.0.0.1:1") as client:
        for _ in range(2):
            assert "no NATS server answers" in await refusal(client, "list_jobs")
        assert len(await client.list_tools()) == 5


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "wrong arguments: goal: Field required"),
        ({"goal": 5}, "wrong arguments: goal: Input should be a valid string"),
        ({"goal": GOAL, "tools": "read_file", "inputs": [1]}, "inputs: Input should be a valid d"),
        ({"goal": GOAL, "tols": ["read_file"]}, "there is no argument 'tols'; there are goal, key"),
        ({"goal": GOAL, "odd\nname" * 90: 1}, "there is no argument 'odd name"),
    ],
)
async def test_wrong_arguments_are_one_line_and_no_job(
    arguments: dict[str, Any], said: str
) -> None:
    async with host("nats://127.0.0.1:1") as client:
        line = await refusal(client, "submit_job", **arguments)
        assert said in line
        assert len(line) < 400
        assert "pydantic" not in line


async def test_over_http_and_its_end_by_a_signal() -> None:
    command = [sys.executable, "-m", "galerne", "mcp", "--server", "nats://127.0.0.1:1"]
    with anyio.fail_after(60):
        async with await anyio.open_process(
            [*command, "--http", "127.0.0.1:0"], stderr=None, env=own_environment()
        ) as process:
            assert process.stdout is not None
            line = (
                await BufferedByteReceiveStream(process.stdout).receive_until(b"\n", 200)
            ).decode()
            async with Client(line) as client:
                assert len(await client.list_tools()) == 5
                assert "no NATS server answers" in await refusal(client, "list_jobs")
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0
