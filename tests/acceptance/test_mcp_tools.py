"""Tools of an MCP server of PyPI, mcp-server-time, in a fleet of real processes."""

import json
import os
import shlex
import signal
import sys
from pathlib import Path

import anyio
import pytest

from acceptance.fleet import Fleet, fleet
from acceptance.pages import ROOT
from galerne.client import Client

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

SERVER = f"echo $$ >> pids; exec {shlex.quote(sys.executable)} -m mcp_server_time"
TOKYO = {"source_timezone": "Asia/Tokyo", "time": "12:00", "target_timezone": "UTC"}
ASK = f"Call convert_time with {json.dumps(TOKYO)}"


async def answer(made: Fleet, ask: str) -> str:
    async with Client.connect(made.nats.url) as client:
        with anyio.fail_after(90):
            job = await client.submit(ask)
            return str(await job.result())


async def test_a_job_calls_a_tool_of_an_mcp_server_which_may_die(tmp_path: Path) -> None:
    async with fleet(tmp_path, "coordinator-1", "planner-1", "executor-1") as made:
        servers = json.dumps({"clock": {"server": shlex.join(["sh", "-c", SERVER])}})
        made.start_worker("tools-1", GALERNE_TOOLS_MCP=servers)
        await made.serving("tools-1")
        code, out, err = await made.command("tools", "--json")
        assert code == 0, err
        (tool,) = [tool for tool in json.loads(out) if tool["name"] == "convert_time"]
        assert (tool["effect"], tool["timeout"]) == ("pure", 60.0)
        assert "-9.0h" in await answer(made, ASK)

        pids = tmp_path / "pids"
        os.kill(int(pids.read_text()), signal.SIGKILL)
        assert "-9.0h" in await answer(made, ASK)
        assert "an MCP server is away" in made.log_of("tools-1")

        _, server = map(int, pids.read_text().split())
        made.terminate("tools-1")
        assert await made.exit_code("tools-1") == 0
        with pytest.raises(ProcessLookupError):
            os.kill(server, 0)


async def test_a_tool_that_comes_later_can_be_called(tmp_path: Path) -> None:
    rich = shlex.join([sys.executable, str(ROOT / "tests/integration/mcp_rich.py"), "stdio"])
    async with fleet(tmp_path, "coordinator-1", "planner-1", "executor-1") as made:
        made.start_worker("tools-1", GALERNE_TOOLS_MCP=json.dumps({"rich": {"server": rich}}))
        await made.serving("tools-1")
        assert "learned" in await answer(made, 'Call learn with {"name": "juggle"}')
        with anyio.fail_after(30):
            while '"juggle"' not in made.log_of("tools-1"):
                await anyio.sleep(0.05)
        assert "I have learned to juggle" in await answer(made, "Call juggle with {}")
        made.terminate("tools-1")
        assert await made.exit_code("tools-1") == 0


async def test_a_server_that_cannot_start_is_one_line(tmp_path: Path) -> None:
    async with fleet(tmp_path, "coordinator-1") as made:
        command = ("worker", "tools", "--server", made.nats.url)
        code, out, err = await made.command(*command, "--mcp", "/no/such/server")
        assert (code, out) == (3, "")
        assert err.splitlines()[-1].startswith("galerne: cannot start /no/such/server: ")
        code, _, err = await made.command("worker", "planner", "--mcp", "any")
        assert code == 2
        assert "--mcp is for `galerne worker tools` alone" in err
