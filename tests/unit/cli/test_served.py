"""`galerne tools` as a person sees it, at 80 columns."""

from typing import Any

import pytest
from rich.console import Console

from galerne.cli.served import served, served_table
from galerne.messages.tools import ToolSpec, ToolsPresent

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"path": {"type": "string"}, "start": {"type": "integer"}},
    "required": ["path"],
}


def spec(name: str, version: str = "1", **fields: Any) -> ToolSpec:
    made: dict[str, Any] = {"parameters": SCHEMA, "route": f"v{version}"} | fields
    return ToolSpec(name=name, description="Do it", version=version, **made)


def present(worker: str, *tools: ToolSpec, active: int = 0) -> ToolsPresent:
    return ToolsPresent(worker=worker, tools=tools, capacity=16, active=active)


def shown(*said: ToolsPresent) -> list[str]:
    console = Console(width=80, color_system=None)
    with console.capture() as capture:
        console.print(served_table(served(said)))
    return [line.rstrip() for line in capture.get().splitlines()]


def test_each_version_has_a_row_and_each_worker_a_line() -> None:
    lines = shown(
        present("a", spec("read"), spec("send", effect="once", approve="always"), active=3),
        present("b", spec("read", "2"), active=16),
        present("c", spec("read", "2"), active=1),
    )
    rows = [line.split() for line in lines]
    assert rows[0] == ["tool", "version", "effect", "person", "workers", "load"]
    assert rows[1][-4:] == ["2", "pure", "2", "17/32"]
    assert rows[2][-4:] == ["1", "pure", "1", "3/16"]
    assert lines[1].startswith("read(path: string, start?: integer)")
    assert lines[-3:] == ["a: at 3 of 16 calls", "b: at 16 of 16 calls", "c: at 1 of 16 calls"]
    assert "(older)" in " ".join(lines)
    assert any("asks" in line and "once" in line for line in lines)
    assert all(len(line) <= 80 for line in lines)


@pytest.mark.parametrize(
    "parameters", [{}, {"properties": [1]}, {"properties": {"a": 7}}, {"required": 3}]
)
def test_a_schema_that_is_none_breaks_no_list(parameters: dict[str, Any]) -> None:
    assert shown(present("a", spec("odd", parameters=parameters)))[1].startswith("odd(")


def test_a_hostile_announcement_is_shown_and_not_obeyed() -> None:
    name = "\x1b[2Jevil\n[bold]x[/bold]" * 3
    lines = shown(present(f"w\x1b]0;title\x07{name}", spec(name, version="\x1b[31m1\n2")))
    assert not any("\x1b" in line or "\x07" in line for line in lines)
    assert "[bold]" in " ".join(lines)
    assert all(len(line) <= 80 for line in lines)
