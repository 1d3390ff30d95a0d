"""The planner inside a web service, as the examples show it: real processes, real HTTP.

The model server is `galerne stand-in`, which writes down how each request ended; so it is seen
there that a client who goes away takes the service's connection to the model along.
"""

import os
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
from aiohttp import ClientResponse, ClientSession
from anyio.streams.buffered import BufferedByteReceiveStream

from acceptance.pages import ROOT
from galerne.models.standin import read_ledger

pytestmark = pytest.mark.anyio

PATIENCE = 30.0
"""Seconds for what has to happen on a busy machine."""
LONG = "Compute 1 * 2, compute 3 * 4, compute 5 * 6, compute 7 * 8, then say which is larger"
CALCULATE = {
    "type": "function",
    "function": {
        "name": "calculate",
        "parameters": {"type": "dict", "properties": {"expression": {"type": "str"}}},
    },
}


class Service:
    """One of the examples, and the ledger of the model server that it asks."""

    def __init__(self, url: str, ledger: Path, http: ClientSession) -> None:
        self.url = url
        self.ledger = ledger
        self.http = http

    def ends(self) -> list[str]:
        """How the requests to the model ended."""
        return [one.event for one in read_ledger(self.ledger) if one.event != "started"]


class AioHttp(Service):
    """JSON in, lines of JSON out; the tools come with the request."""

    def plan(self, goal: Any) -> Any:
        body = {"goal": goal, "tools": [CALCULATE]}
        return self.http.post(self.url, json=body)

    def stream(self, goal: str) -> Any:
        return self.http.post(f"{self.url}/stream", json={"goal": goal, "tools": [CALCULATE]})

    async def told(self, response: ClientResponse) -> tuple[list[Any], Any]:
        lines = [msgspec.json.decode(line) async for line in response.content]
        return lines[:-1], lines[-1]

    async def first(self, response: ClientResponse) -> Any:
        return msgspec.json.decode(await response.content.readline())


class FastApi(Service):
    """Server-sent events; the tool is the service's own."""

    def plan(self, goal: Any) -> Any:
        return self.http.post(self.url, json={"goal": goal})

    def stream(self, goal: str) -> Any:
        return self.http.get(f"{self.url}/stream", params={"goal": goal})

    async def told(self, response: ClientResponse) -> tuple[list[Any], Any]:
        events = (await response.text()).split("\n\n")[:-1]
        kinds = [event.partition("\n")[0] for event in events]
        assert kinds == ["event: task"] * (len(events) - 1) + ["event: end"]
        told = [msgspec.json.decode(event.partition("\ndata: ")[2]) for event in events]
        return told[:-1], told[-1]

    async def first(self, response: ClientResponse) -> Any:
        assert await response.content.readline() == b"event: task\n"
        return msgspec.json.decode((await response.content.readline()).removeprefix(b"data: "))


AnyService = AioHttp | FastApi
EXAMPLES: dict[str, type[AioHttp] | type[FastApi]] = {
    "aiohttp_service.py": AioHttp,
    "fastapi_service.py": FastApi,
}
each_service = pytest.mark.parametrize("example", EXAMPLES)


@asynccontextmanager
async def process(*command: str, variables: Mapping[str, str]) -> AsyncGenerator[str]:
    """Run it; gives the first word of its first line, which is its address."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GALERNE_")}
    started = await anyio.open_process(
        [sys.executable, *command],
        stdin=subprocess.DEVNULL,
        stderr=None,
        cwd=ROOT,
        env={**clean, **variables},
    )
    try:
        assert started.stdout is not None
        with anyio.fail_after(PATIENCE):
            line = await BufferedByteReceiveStream(started.stdout).receive_until(b"\n", 1000)
        yield line.decode().split()[0]
    finally:
        with anyio.CancelScope(shield=True):
            started.terminate()
            with anyio.move_on_after(10):
                await started.wait()
            await started.aclose()


@asynccontextmanager
async def serving(example: str, folder: Path, pace: int = 0) -> AsyncGenerator[AnyService]:
    """The example at work, with a model that writes `pace` tokens a second (0: at once)."""
    ledger = folder / "ledger.jsonl"
    stand_in = ("-m", "galerne", "stand-in", "--port", "0", "--ledger", str(ledger))
    async with process(*stand_in, "--pace", str(pace), variables={}) as model:
        asks = {"GALERNE_PLANNER_ENDPOINT": model, "GALERNE_PLANNER_MODEL": "mixtral-8x22b"}
        program = str(ROOT / "examples" / example)
        async with (
            process(program, variables={**asks, "PORT": "0"}) as url,
            ClientSession() as http,
        ):
            with anyio.fail_after(2 * PATIENCE):
                yield EXAMPLES[example](url, ledger, http)


async def until(look: Callable[[], bool], what: str) -> None:
    try:
        with anyio.fail_after(PATIENCE):
            while not look():
                await anyio.sleep(0.02)
    except TimeoutError as error:
        raise AssertionError(f"never: {what}") from error


@each_service
async def test_a_whole_plan_and_the_same_one_as_a_stream(example: str, tmp_path: Path) -> None:
    async with serving(example, tmp_path) as service:
        async with service.plan(LONG) as response:
            assert response.status == 200
            plan = await response.json()
        async with service.stream(LONG) as response:
            assert response.status == 200
            tasks, _ = await service.told(response)
        assert service.ends() == ["finished", "finished"]
    assert tasks == plan["tasks"]
    assert [task.get("tool") for task in tasks] == ["calculate"] * 4 + [None]
    assert tasks[-1]["needs"] == ["1", "2", "3", "4"]
    (used,) = plan["usage"]["models"].values()
    assert used["calls"] == 1


@each_service
async def test_a_client_that_goes_away_takes_the_connection_to_the_model_along(
    example: str, tmp_path: Path
) -> None:
    async with serving(example, tmp_path, pace=20) as service:
        async with service.stream(LONG) as response:
            task = await service.first(response)
            assert task["args"] == {"expression": "1 * 2"}
            assert service.ends() == []  # the model still writes
            response.close()
        await until(lambda: service.ends() == ["aborted"], "the model's connection was closed")
        async with service.stream("Compute 6 * 7") as response:
            tasks, _ = await service.told(response)
            assert [one["args"] for one in tasks] == [{"expression": "6 * 7"}]


@each_service
async def test_what_is_wrong_is_said_in_one_line(example: str, tmp_path: Path) -> None:
    async with serving(example, tmp_path) as service:
        for goal, said in (("", "the goal is empty: say what the job is to do"), (5, "str")):
            async with service.plan(goal) as response:
                assert response.status == 400
                document = await response.json()
                assert list(document) == ["error"]
                assert said in document["error"]
                assert len(document["error"].splitlines()) == 1
        async with service.stream(" ") as response:
            assert response.status == 400
            assert (await response.json())["error"].startswith("the goal is empty")
        assert service.ends() == []


@each_service
async def test_a_model_that_is_away_is_said_in_one_line(example: str, tmp_path: Path) -> None:
    async with process("-m", "galerne", "stand-in", "--port", "0", variables={}) as gone:
        pass
    program = str(ROOT / "examples" / example)
    variables = {"GALERNE_PLANNER_ENDPOINT": gone, "PORT": "0"}
    async with process(program, variables=variables) as url, ClientSession() as http:
        service = EXAMPLES[example](url, tmp_path, http)
        for asked in (service.plan, service.stream):
            async with asked("Compute 6 * 7") as response:
                assert response.status == 503
                error = (await response.json())["error"]
                assert gone in error
                assert len(error.splitlines()) == 1


async def test_a_tool_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    async with serving("aiohttp_service.py", tmp_path) as service:
        body = {"goal": "x", "tools": [CALCULATE, {"name": "fly", "parameters": {"type": "str"}}]}
        async with service.http.post(f"{service.url}/stream", json=body) as response:
            assert response.status == 400
            assert "the tool 'fly'" in (await response.json())["error"]
