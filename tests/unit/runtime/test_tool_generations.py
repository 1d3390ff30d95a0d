"""A host for each set of tools: the next one serves before the one before leaves."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

import anyio
import pytest

from galerne.errors import InvalidSettingsError, UnavailableError
from galerne.runtime import tool_generations
from galerne.runtime.tool_generations import serve_generations
from galerne.tools import AnyTool, LiveTools, tool

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool_generations, "LEAST", 0.0)


def named(name: str) -> AnyTool:
    def function() -> str:
        return name

    return tool(name=name)(function)


class Hosts:
    """Hosts that serve nothing and say what they do."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.news = anyio.Event()
        self.drain = anyio.Event()
        self.drain.set()
        self.fails: set[str] = set()

    async def serve(
        self, tools: Mapping[str, AnyTool], stop: anyio.Event, started: anyio.Event
    ) -> None:
        names = "+".join(tools)
        if names in self.fails:
            raise InvalidSettingsError(f"{names} cannot be served")
        self.say(f"{names} serves")
        started.set()
        await stop.wait()
        self.say(f"{names} drains")
        await self.drain.wait()
        self.say(f"{names} left")

    def say(self, text: str) -> None:
        self.said.append(text)
        self.news.set()
        self.news = anyio.Event()

    async def until(self, text: str) -> None:
        with anyio.fail_after(30):
            while text not in self.said:
                await self.news.wait()


@asynccontextmanager
async def served(live: LiveTools, hosts: Hosts) -> AsyncGenerator[anyio.Event]:
    """The first host serves; until what is given is set, and then all have left."""
    stop, started = anyio.Event(), anyio.Event()
    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(serve_generations, live, stop, started, hosts.serve, hosts.serve)
            await started.wait()
            yield stop


async def test_a_change_is_served_before_the_host_before_leaves() -> None:
    live, hosts = LiveTools({"a": named("a")}), Hosts()
    async with served(live, hosts) as stop:
        live.offer("source", [named("b")])
        await hosts.until("a left")
        live.offer("source", [named("c")])
        await hosts.until("a+b left")
        stop.set()
    assert hosts.said == [
        "a serves",
        "a+b serves",
        "a drains",
        "a left",
        "a+c serves",
        "a+b drains",
        "a+b left",
        "a+c drains",
        "a+c left",
    ]


async def test_the_end_waits_for_all_that_drain() -> None:
    live, hosts = LiveTools({"a": named("a")}), Hosts()
    hosts.drain = anyio.Event()
    async with served(live, hosts) as stop:
        live.offer("source", [named("b")])
        await hosts.until("a drains")
        stop.set()
        await hosts.until("a+b drains")
        hosts.drain.set()
    assert set(hosts.said[-2:]) == {"a left", "a+b left"}


async def test_a_set_that_cannot_be_served_leaves_the_host_before() -> None:
    live, hosts = LiveTools({"a": named("a")}), Hosts()
    hosts.fails = {"a+b"}
    async with served(live, hosts) as stop:
        live.offer("source", [named("b")])
        await anyio.wait_all_tasks_blocked()
        assert hosts.said == ["a serves"]
        live.offer("source", [named("c")])
        await hosts.until("a left")
        stop.set()
    assert hosts.said[:3] == ["a serves", "a+c serves", "a drains"]


async def test_what_the_first_host_raises_is_heard() -> None:
    live, hosts = LiveTools({"a": named("a")}), Hosts()
    hosts.fails = {"a"}
    with anyio.fail_after(30), pytest.raises(InvalidSettingsError, match="a cannot be served"):
        await serve_generations(live, anyio.Event(), anyio.Event(), hosts.serve, hosts.serve)


async def test_a_host_that_breaks_later_is_heard() -> None:
    live = LiveTools({"a": named("a")})

    async def changes(_: Mapping[str, AnyTool], stop: anyio.Event, started: anyio.Event) -> None:
        started.set()
        live.offer("source", [named("b")])
        await stop.wait()

    async def breaks(_: Mapping[str, AnyTool], stop: anyio.Event, started: anyio.Event) -> None:
        started.set()
        raise UnavailableError(f"the server has gone, stop is {stop.is_set()}")

    with anyio.fail_after(30), pytest.raises(UnavailableError, match="stop is False"):
        await serve_generations(live, anyio.Event(), anyio.Event(), changes, breaks)
