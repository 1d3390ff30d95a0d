"""`galerne tools check`: lines, codes and documents for modules by name and by file."""

import json
import sys
from pathlib import Path

import pytest

from galerne.cli.main import main

GOOD = '''
from typing import Annotated
from galerne.tools import tool

@tool(effect="pure", examples=[{"n": 2}])
def double(n: Annotated[int, "a number"]) -> int:
    """Twice a number."""
    return 2 * n
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    return tmp_path


def test_a_good_module_is_0(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "good_tools.py").write_text(GOOD)
    for named in ("good_tools.py", "good_tools", str(folder / "good_tools.py")):
        assert main(["tools", "check", "--run", named]) == 0
        assert capfd.readouterr().out == "✓ 1 tool: nothing to mend\n"


def test_what_is_to_be_mended_is_a_line_each_and_1(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (folder / "poor_tools.py").write_text(
        GOOD.replace('effect="pure", ', "").replace("2 * n", '""')
    )
    assert main(["tools", "check", "poor_tools"]) == 1
    assert capfd.readouterr().out.splitlines() == [
        '✗ double: its effect is not stated: write effect="pure", "idempotent" or "once"',
        "1 tool, 1 problem",
    ]
    assert main(["tools", "check", "--json", "--run", "poor_tools"]) == 1
    shown = json.loads(capfd.readouterr().out)
    assert (shown["tools"], shown["problems"]) == (["double"], 2)
    assert shown["findings"][1]["what"].startswith("example 1: its result is not what it says")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import nowhere_at_all", "ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("def f(", "SyntaxError"),
        ("x = 1", "has no tools: decorate a function with @tool"),
        (GOOD.replace("Annotated[int,", "Annotated[complex,"), "has a bad tool: tool double: "),
        ("raise SystemExit(3)", "cannot be imported: SystemExit: 3"),
    ],
)
def test_what_cannot_be_read_is_2_with_one_line(
    folder: Path, capfd: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    name = f"odd_tools_{abs(hash(text))}"
    (folder / f"{name}.py").write_text(text)
    assert main(["tools", "check", name]) == 2
    [line] = capfd.readouterr().err.splitlines()
    assert said in line


@pytest.mark.parametrize("name", ["email.py", "json.py", "my-own.tools.py"])
def test_a_file_is_that_file_whatever_its_name(
    folder: Path, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    (folder / "of_mine").mkdir()
    (folder / "of_mine" / name).write_text(GOOD)
    assert main(["tools", "check", f"of_mine/{name}"]) == 0
    assert capfd.readouterr().out == "✓ 1 tool: nothing to mend\n"


@pytest.mark.parametrize("named", ["nowhere.py", "of_mine/tools", "/etc/passwd"])
def test_a_file_that_is_not_there_is_told_as_that(
    folder: Path, capfd: pytest.CaptureFixture[str], named: str
) -> None:
    assert main(["tools", "check", named]) == 2
    [line] = capfd.readouterr().err.splitlines()
    assert line == f"galerne: there is no Python file {named}: give a file (tools.py), or a name"
