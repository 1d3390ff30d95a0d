"""A tool worker in JavaScript, with the official NATS client from npm, in a real fleet.

It is `examples/tool_worker`, written after docs/protocol.md: nothing of ours runs in it.
"""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from acceptance.fleet import Fleet, fleet
from acceptance.pages import ROOT
from galerne.client import Client
from galerne.messages.tools import CallTool, ToolRefused, ToolResult
from galerne.runtime.tool_caller import ToolCaller

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

EXAMPLE = ROOT / "examples" / "tool_worker"
MOST_LINES = 59
PATIENCE = 90.0
INSTALL = 180.0


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example with what it depends on, installed from the registry that npm is set to."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not installed")
    folder = tmp_path_factory.mktemp("javascript") / "worker"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("node_modules"))
    quiet = ("--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts")
    done = subprocess.run(
        ["npm", "install", *quiet],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=INSTALL,
        check=False,
    )
    if done.returncode != 0:
        pytest.skip(f"npm cannot install the NATS client here: {done.stderr[-300:]}")
    return folder


def _started(made: Fleet, folder: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        ["node", "tool_worker.mjs"],
        cwd=folder,
        env={**os.environ, "GALERNE_SERVER": made.nats.url},
        stdout=subprocess.PIPE,
        text=True,
    )


@asynccontextmanager
async def worker(made: Fleet, folder: Path) -> AsyncGenerator["subprocess.Popen[str]"]:
    """A process of it, once it has said that it serves."""
    process = _started(made, folder)
    assert process.stdout is not None
    try:
        with anyio.fail_after(PATIENCE):
            said = await anyio.to_thread.run_sync(process.stdout.readline)
        assert said.startswith("serving slug as js-"), said
        yield process
    finally:
        process.kill()
        process.wait(10)
        process.stdout.close()


async def served(made: Fleet) -> dict[str, dict[str, Any]]:
    code, out, error = await made.command("tools", "--json")
    assert code == 0, error
    return {one["name"]: one for one in json.loads(out)}


async def until_served(made: Fleet, *, there: bool) -> None:
    with anyio.fail_after(PATIENCE):
        while ("slug" in await served(made)) is not there:
            await anyio.sleep(0.05)


def test_it_is_a_page_long_and_has_no_addresses() -> None:
    text = (EXAMPLE / "tool_worker.mjs").read_text("utf-8")
    assert len(text.splitlines()) <= MOST_LINES
    assert not list(EXAMPLE.glob("*lock*"))
    assert "http" not in (EXAMPLE / "package.json").read_text("utf-8")


async def test_it_serves_a_fleet(tmp_path: Path, installed: Path) -> None:
    async with fleet(tmp_path, "coordinator-1", "planner-1", "executor-1", "tools-1") as made:
        async with worker(made, installed) as process:
            await until_served(made, there=True)
            shown = (await served(made))["slug"]
            assert (shown["effect"], shown["version"], shown["timeout"]) == ("pure", "1", 60.0)
            assert shown["call"] == "slug(title: string)"
            goal = 'Call slug with {"title": "Éole & the Four Winds"}'
            code, out, error = await made.command("submit", "--wait", goal)
            assert code == 0, error
            assert "eole-the-four-winds" in out
            await hostile_calls(made)
            process.send_signal(signal.SIGTERM)
            await until_served(made, there=False)
            assert process.wait(10) == 0
        async with worker(made, installed) as process:
            await until_served(made, there=True)
            process.kill()
            await until_served(made, there=False)


async def hostile_calls(made: Fleet) -> None:
    """What is wrong is answered as an error, and the worker goes on."""
    async with Client.connect(made.nats.url) as client:
        caller = ToolCaller(client._bus, 0.5, time.time)  # pyright: ignore[reportPrivateUsage] - a plain caller
        bad: list[dict[str, Any]] = [{}, {"title": 7}, {"title": "a", "x": 1}, {"title": None}]
        for number, arguments in enumerate(bad):
            said = await caller.call(_call(number, arguments))
            assert said == ToolRefused(code="tool", message="give one argument: title, a string")
        said = await caller.call(_call(9, {"title": "\0 <b>A</b>\n" * 1_000}))
        assert isinstance(said, ToolResult)
        assert said.value.startswith("b-a-b-b-a-b")


def _call(number: int, arguments: dict[str, Any]) -> CallTool:
    return CallTool(
        tool="slug",
        key=f"job.1.{number}",
        tenant="default",
        arguments=arguments,
        deadline=time.time() + 30.0,
    )
