"""Tools behind connections, found by their own group of entry points."""

import sys
from collections.abc import AsyncGenerator, Collection
from contextlib import asynccontextmanager
from importlib.metadata import EntryPoint
from types import ModuleType
from typing import Any

import pytest

from galerne.errors import InvalidInputError, UnavailableError
from galerne.settings import ToolSettings
from galerne.tools import AnyTool, tool, with_sources
from galerne.tools import sources as sources_module

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
        self._patch = monkeypatch
        monkeypatch.setattr(sources_module, "entry_points", self._found)

    def _found(self, *, group: str) -> list[EntryPoint]:
        assert group == GROUP
        return self._points

    def add(self, name: str, *tools: str, fails: bool = False) -> None:
        @asynccontextmanager
        async def open_tools(_: Any, taken: Collection[str]) -> AsyncGenerator[list[AnyTool]]:
            self.said.append(f"{name} opens beside {sorted(taken)}")
            if fails:
                raise UnavailableError(f"{name} is away")
            yield [named(one) for one in tools]
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
    async with with_sources({"own": named("own")}, ToolSettings(), GROUP) as tools:
        assert list(tools) == ["one", "own", "three", "two"]
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


async def test_a_name_that_is_taken_and_a_module_that_is_no_source(installed: Sources) -> None:
    installed.add("src_a", "own")
    with pytest.raises(InvalidInputError, match="gives 'own', which is taken"):
        async with with_sources({"own": named("own")}, ToolSettings(), GROUP):
            pass
    installed.add_module("src_0", ModuleType("src_0"))
    with pytest.raises(
        InvalidInputError, match=r"'src_0' of .* must name a module with open_tools"
    ):
        async with with_sources({}, ToolSettings(), GROUP):
            pass
