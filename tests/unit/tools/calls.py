"""A call's context with an hour left, for the tests of tools."""

import time
from typing import Any

from galerne.messages.tools import ToolOutcome, ToolRefused, ToolResult
from galerne.tools import AnyTool, ToolContext, invoke


def context(seconds: float = 3600.0) -> ToolContext:
    return ToolContext(key="j.t.1", deadline=time.time() + seconds, tenant="t", clock=time.time)


async def call(tool: AnyTool, **arguments: Any) -> ToolOutcome:
    return await invoke(tool, arguments, context())


async def value_of(tool: AnyTool, **arguments: Any) -> Any:
    outcome = await call(tool, **arguments)
    assert isinstance(outcome, ToolResult), outcome
    return outcome.value


async def refusal_of(tool: AnyTool, **arguments: Any) -> ToolRefused:
    outcome = await call(tool, **arguments)
    assert isinstance(outcome, ToolRefused), outcome
    assert "\n" not in outcome.message
    return outcome
