"""A tool without a bus: called as a worker calls it, with a clock and a key of your own.

    clock = FakeClock()
    outcome = await call_tool(send_mail, {"to": "ada@example.org"}, key="j.1.1", clock=clock)
    assert outcome.value == "sent"

The arguments are decoded, the timeout holds, errors come back as a model would read them, and what
is too large for a message is put aside in memory. `value_of` and `refusal_of` say at once which of
the two you expect.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from galerne.local.blobs import MemoryBlobs
from galerne.messages.tools import ToolOutcome, ToolRefused, ToolResult
from galerne.settings import BusSettings
from galerne.tools import AnyTool, BlobStore, Progress, ToolContext, invoke
from galerne.tools.checking import Finding, look_over, try_out
from galerne.tools.context import nobody_watches

HOUR = 3600.0


class FakeClock:
    """Unix seconds that pass only when they are told to. A tool gets it as `context.clock`."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


def memory_blobs() -> MemoryBlobs:
    """Large content in memory, with the limits of a bus as it is by default."""
    settings = BusSettings()
    return MemoryBlobs(settings.max_blob, settings.inline)


async def call_tool(
    tool: AnyTool,
    arguments: Mapping[str, Any] | None = None,
    *,
    key: str = "job.task.1",
    tenant: str = "default",
    clock: Callable[[], float] | None = None,
    seconds: float = HOUR,
    blobs: BlobStore | None = None,
    progress: Progress = nobody_watches,
) -> ToolOutcome:
    """Perform one call. `seconds` are left until the call's deadline; a timeout is real time.

    Gives a ToolResult, or the ToolRefused that a model would read. Nothing is raised but the
    caller's own cancellation.
    """
    now = clock or FakeClock()
    context = ToolContext(
        key=key,
        deadline=now() + seconds,
        tenant=tenant,
        clock=now,
        blobs=blobs or memory_blobs(),
        progress=progress,
    )
    return await invoke(tool, dict(arguments or {}), context, inline=BusSettings().inline)


async def value_of(tool: AnyTool, arguments: Mapping[str, Any] | None = None, **how: Any) -> Any:
    """The value of a call that succeeds, as JSON would hold it; `how` as for `call_tool`.

    Raises AssertionError where the call was refused.
    """
    match await call_tool(tool, arguments, **how):
        case ToolResult(value=value):
            return value
        case ToolRefused(code=code, message=message):
            raise AssertionError(f"{tool.spec.name} was refused ({code}): {message}")


async def refusal_of(
    tool: AnyTool, arguments: Mapping[str, Any] | None = None, **how: Any
) -> ToolRefused:
    """The refusal of a call that fails, as a model reads it; `how` as for `call_tool`.

    Raises AssertionError where the call succeeded.
    """
    match await call_tool(tool, arguments, **how):
        case ToolRefused() as refused:
            return refused
        case ToolResult(content=content):
            raise AssertionError(f"{tool.spec.name} was not refused: it gave {content[:200]}")


async def assert_idempotent(
    tool: AnyTool,
    arguments: Mapping[str, Any],
    observe: Callable[[], Any],
    **how: Any,
) -> None:
    """Call it twice with one key: `observe()`, plain or async, must see the same effect.

    The results must be equal, too. Raises AssertionError that says which of the two differs.
    """
    first = await value_of(tool, arguments, **how)
    effect = await _observed(observe)
    second = await value_of(tool, arguments, **how)
    name = tool.spec.name
    if second != first:
        raise AssertionError(f"{name} gave {first!r}, and for the same key again {second!r}")
    again = await _observed(observe)
    if again != effect:
        raise AssertionError(f"{name} left {effect!r}, and after the same key again {again!r}")


async def check_tools(tools: Iterable[AnyTool], *, run: bool = False) -> list[Finding]:
    """What `galerne tools check` finds; with `run` the examples are called, but of `once` tools."""
    listed = list(tools)
    found = look_over(listed)
    if run:
        blobs = memory_blobs()

        async def call(tool: AnyTool, arguments: dict[str, Any], key: str) -> ToolOutcome:
            return await call_tool(tool, arguments, key=key, blobs=blobs)

        found += await try_out(listed, call)
    return found


async def _observed(observe: Callable[[], Any]) -> Any:
    seen: Any = observe()
    return await seen if inspect.isawaitable(seen) else seen
