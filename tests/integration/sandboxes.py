"""A sandbox of each kind for the tests, and what of them is still alive on this host."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from galerne.errors import InvalidSettingsError
from galerne.messages.tools import ToolRefused
from galerne.settings import PythonSettings, ToolSettings
from galerne.tools import AnyTool, ToolContext, invoke
from galerne_tools.python.backends import KINDS, Kind
from galerne_tools.python.tool import python_tool

SMALL = PythonSettings(
    enabled=True,
    seconds=8.0,
    memory=256 * 1024**2,
    processes=16,
    output=4096,
    scratch=4 * 1024**2,
)
"""Limits that are soon met, and time enough for a busy machine."""
PATIENCE = 60.0


def settings_for(root: Path, kind: Kind) -> ToolSettings:
    import msgspec

    return ToolSettings(root=str(root), python=msgspec.structs.replace(SMALL, sandbox=kind))


def tool_of(root: Path, kind: Kind) -> AnyTool:
    """The tool over a root folder; the test is skipped where this kind is not to be had."""
    try:
        return python_tool(settings_for(root, kind))
    except InvalidSettingsError as error:
        pytest.skip(f"{kind}: {error}")


def context(**more: Any) -> ToolContext:
    return ToolContext(
        key="job.task.1", deadline=PATIENCE, tenant="default", clock=lambda: 0.0, **more
    )


async def ran(
    tool: AnyTool, code: str, seconds: float | None = None, **more: Any
) -> dict[str, Any]:
    """What the model reads of a run."""
    arguments = {"code": code} if seconds is None else {"code": code, "seconds": seconds}
    outcome = await invoke(tool, arguments, context(**more))
    assert not isinstance(outcome, ToolRefused), outcome
    value: dict[str, Any] = outcome.value
    return value


def alive(token: str) -> list[str]:
    """Command lines of this host's processes that hold the token."""
    return [line for line in _command_lines() if token in line]


def _command_lines() -> Iterator[str]:
    for folder in Path("/proc").glob("[0-9]*"):
        if int(folder.name) != os.getpid():
            with contextlib.suppress(OSError):  # it has ended
                yield (folder / "cmdline").read_bytes().decode("utf-8", "replace")


async def until_gone(token: str) -> None:
    """Until no process holds the token. Fails after PATIENCE."""
    with anyio.move_on_after(PATIENCE):
        while alive(token):
            await anyio.sleep(0.02)
        return
    raise AssertionError(f"still alive: {alive(token)}")


__all__ = [
    "KINDS",
    "SMALL",
    "Kind",
    "alive",
    "context",
    "ran",
    "settings_for",
    "tool_of",
    "until_gone",
]
