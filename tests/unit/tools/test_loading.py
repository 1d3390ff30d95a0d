import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from galerne.errors import InvalidInputError, InvalidSettingsError
from galerne.settings import ToolSettings
from galerne.tools import find_tools, load_tools, tool
from galerne_tools import arithmetic

GROUP = "galerne.tools_of_a_test"


class Installed:
    """A folder on the import path that holds a distribution with entry points of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, module: str, source: str, value: str | None = None) -> None:
        (self.folder / f"{module}.py").write_text(source)
        info = self.folder / f"{module}-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1\n")
        (info / "entry_points.txt").write_text(f"[{GROUP}]\n{module} = {value or module}\n")
        importlib.invalidate_caches()


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installed]:
    before = set(sys.modules)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    yield Installed(tmp_path)
    for name in set(sys.modules) - before:
        del sys.modules[name]


MODULE = """
from galerne.tools import tool

@tool
async def second(n: int) -> int:
    return n

@tool(name="first")
async def other(n: int) -> int:
    return n

again = second
"""

FACTORY = """
from galerne.tools import tool

def tools(settings):
    @tool
    def root() -> str:
        return settings.root
    return [root]
"""


def test_the_real_tools(tmp_path: Path) -> None:
    tools = load_tools(ToolSettings(root=str(tmp_path)))
    dates = ["date_add", "date_diff", "date_info"]
    files = ["list_files", "read_file", "search_files"]
    assert list(tools) == ["calculate", *dates, *files, "text_stats"]
    assert all(found.spec.name == name for name, found in tools.items())
    assert {found.spec.effect for found in tools.values()} == {"pure"}


def test_find_tools_keeps_the_order_of_definition() -> None:
    module = ModuleType("m")

    def plain(n: int) -> int:
        return n

    zebra, ape = tool(name="zebra")(plain), tool(name="ape")(plain)
    vars(module).update(zebra=zebra, plain=plain, ape=ape, alias=zebra)
    assert find_tools(module) == [zebra, ape]
    assert find_tools(arithmetic) == [arithmetic.calculate]


def test_modules_and_factories(installed: Installed) -> None:
    installed.add("mod_of_test", MODULE)
    installed.add("factory_of_test", FACTORY)
    tools = load_tools(ToolSettings(root="/here"), GROUP)
    assert list(tools) == ["first", "root", "second"]
    root: Any = tools["root"]
    assert root() == "/here"
    assert load_tools(ToolSettings(), "galerne.nothing_here") == {}


def test_two_of_one_name_are_refused(installed: Installed) -> None:
    installed.add("one_of_test", MODULE)
    installed.add("two_of_test", MODULE)
    with pytest.raises(InvalidInputError) as caught:
        load_tools(ToolSettings(), GROUP)
    assert str(caught.value) == (
        "two tools are named 'second': in one_of_test and in two_of_test; "
        "rename one with @tool(name=…)"
    )


@pytest.mark.parametrize(
    ("source", "value", "said"),
    [
        ("", None, "has no tools: decorate a function with @tool"),
        ("1 / 0", None, "cannot be imported: ZeroDivisionError: division by zero"),
        ("import no_such_module_here", None, "cannot be imported: ModuleNotFoundError: No module"),
        (
            "from galerne.tools import tool\n@tool\ndef f(n): ...",
            None,
            "has a bad tool: tool f: annotate the parameter n",
        ),
        (MODULE, "bad_of_test:second", "must name a module, without a colon"),
        ("def tools(settings): return [1]", None, "its function tools() gave 1, not a tool"),
    ],
)
def test_a_bad_entry_point_is_named(
    installed: Installed, source: str, value: str | None, said: str
) -> None:
    installed.add("bad_of_test", source, value)
    with pytest.raises(InvalidInputError) as caught:
        load_tools(ToolSettings(), GROUP)
    assert str(caught.value).startswith(f"the entry point 'bad_of_test' of {GROUP} (bad_of_test")
    assert said in str(caught.value)


def test_a_root_that_is_not_there_is_a_wrong_setting(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettingsError) as caught:
        load_tools(ToolSettings(root=str(tmp_path / "gone")))
    assert "tools.root: there is no folder" in str(caught.value)
