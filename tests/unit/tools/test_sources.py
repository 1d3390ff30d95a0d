"""Tools behind connections, found by their own group of entry points."""

import sys
from collections.abc import AsyncGenerator, Collection
from contextlib import asynccontextmanager
from importlib.metadata import EntryPoint
from types import ModuleType
from typing import Any

import anyio
import pytest

from galerne.errors import InvalidInputError, UnavailableError
from galerne.settings import ToolSettings
from galerne.tools import AnyTool, tool, with_sources
from galerne.tools import sources as sources_module
from galerne.tools.sources import Offer

pytestmark = pytest.mark.anyio

GROUP = "galerne.sources_of_test"


def named(name: str) -> AnyTool:
    def function() -> str:
        return name

    return tool(name=name)(function)


class Sources:
    """Modules that are installed as far as `with_sources` can see."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._points: list[EntryPoint] = []
        self.said: list[str] = []
        self.offers: dict[str, Offer] = {}
        self._patch = monkeypatch
        monkeypatch.setattr(sources_module, "entry_points", self._found)

    def _found(self, *, group: str) -> list[EntryPoint]:
        assert group == GROUP
        return self._points

    def add(self, name: str, *tools: str, fails: bool = False) -> None:
        @asynccontextmanager
        async def open_tools(_: Any, taken: Collection[str], offer: Offer) -> AsyncGenerator[None]:
            self.said.append(f"{name} opens beside {sorted(taken)}")
            if fails:
                raise UnavailableError(f"{name} is away")
            self.offers[name] = offer
            offer([named(one) for one in tools])
            yield
            self.said.append(f"{name} closes")

        module = ModuleType(name)
        vars(module)["open_tools"] = open_tools
        self.add_module(name, module)

    def add_module(self, name: str, module: ModuleType) -> None:
        self._patch.setitem(sys.modules, name, module)
        self._points.append(EntryPoint(name=name, value=name, group=GROUP))


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Sources:
    return Sources(monkeypatch)


async def test_sources_come_beside_the_own_and_are_closed(installed: Sources) -> None:
    installed.add("src_a", "one", "two")
    installed.add("src_b", "three")
    async with with_sources({"own": named("own")}, ToolSettings(), GROUP) as live:
        assert list(live.now()) == ["one", "own", "three", "two"]
    assert installed.said == [
        "src_a opens beside ['own']",
        "src_b opens beside ['one', 'own', 'two']",
        "src_b closes",
        "src_a closes",
    ]


async def test_a_source_that_fails_is_heard_and_the_others_are_closed(installed: Sources) -> None:
    installed.add("src_a", "one")
    installed.add("src_b", fails=True)
    with pytest.raises(UnavailableError, match="src_b is away"):
        async with with_sources({}, ToolSettings(), GROUP):
            pass


async def test_a_source_may_change_its_mind(installed: Sources) -> None:
    installed.add("src_a", "one", "own")
    installed.add("src_b", "three")
    async with with_sources({"own": named("own")}, ToolSettings(), GROUP) as live:
        first = live.now()
        assert list(first) == ["one", "own", "three"]
        assert first["own"]() == "own"
        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(live.changed, first)
                await anyio.wait_all_tasks_blocked()
                installed.offers["src_a"]([named("three"), named("four"), named("four")])
        second = live.now()
        assert list(second) == ["four", "own", "three"]
        assert second["three"] is first["three"]
        with anyio.fail_after(30):
            await live.changed(first)


async def test_a_module_that_is_no_source(installed: Sources) -> None:
    installed.add_module("src_0", ModuleType("src_0"))
    with pytest.raises(
        InvalidInputError, match=r"'src_0' of .* must name a module with open_tools"
    ):
        async with with_sources({}, ToolSettings(), GROUP):
            pass
