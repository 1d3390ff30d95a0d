"""One call of a tool, from JSON arguments to something that a model can read.

Wrong arguments, a tool that says no, one that is too slow, one that has a bug, a result too large
for the bus: each comes back as a `ToolRefused` whose message is one line for the model. Only the
caller's own cancellation passes through. A bug's traceback goes to the log, never to the model.
"""

from functools import partial
from inspect import iscoroutinefunction
from typing import Any

import anyio
import anyio.to_thread
import msgspec
import structlog

from galerne.errors import GalerneError
from galerne.messages.codec import encode
from galerne.messages.tools import ToolOutcome, ToolRefused, ToolResult
from galerne.tool.context import ToolContext
from galerne.tool.contract import AnyTool
from galerne.tool.schema import signature_line

MAX_RESULT = 256 * 1024
"""Bytes of an encoded `ToolResult`: half of what a message on the bus may hold by default."""

_MAX_MESSAGE = 2000
"""Characters of a refusal: a model reads them all, and pays for them."""

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger("galerne.tool")


async def invoke(tool: AnyTool, arguments: dict[str, Any], context: ToolContext) -> ToolOutcome:
    """Decode, run within the tool's timeout and the call's deadline, encode.

    Codes of a refusal: `invalid_input`, `deadline`, `too_large`, `tool_bug`, `in_doubt` (a `once`
    tool that was still at it when its time was up), or that of the GalerneError that it raised.
    """
    try:
        keywords = tool.parameters.decode(arguments)
    except GalerneError as error:
        return _refused(error.code, str(error))
    name, timeout = tool.spec.name, tool.spec.timeout
    seconds = min(timeout, context.deadline - context.clock())
    if seconds <= 0:
        return _refused("deadline", f"{name} was not begun: the call's time was already over")
    if tool.parameters.context is not None:
        keywords[tool.parameters.context] = context
    with anyio.move_on_after(seconds):
        return await _attempt(tool, keywords, context)
    return _too_slow(tool, seconds)


async def _attempt(tool: AnyTool, keywords: dict[str, Any], context: ToolContext) -> ToolOutcome:
    try:
        return _result(tool, await _run(tool, keywords))
    except (Exception, SystemExit) as raised:  # noqa: BLE001  the boundary: a tool may raise anything
        error = _only_cause(raised)
        if isinstance(error, GalerneError):
            return _refused(error.code, str(error))
        name = tool.spec.name
        _log.error("tool_bug", tool=name, key=context.key, tenant=context.tenant, exc_info=raised)
        return _refused("tool_bug", f"{name} failed inside: {type(error).__name__}")


async def _run(tool: AnyTool, keywords: dict[str, Any]) -> Any:
    if iscoroutinefunction(tool.function):
        return await tool.function(**keywords)
    call = partial(tool.function, **keywords)
    return await anyio.to_thread.run_sync(call, abandon_on_cancel=True)


def _result(tool: AnyTool, value: Any) -> ToolOutcome:
    plain = msgspec.to_builtins(value, str_keys=True, order="deterministic")
    content = plain if isinstance(plain, str) else encode(plain).decode()
    result = ToolResult(value=plain, content=content)
    size = len(encode(result))
    if size <= MAX_RESULT:
        return result
    usage = signature_line(tool.spec.name, tool.spec.parameters)
    return _refused(
        "too_large",
        f"the result has {size // 1024} kB, the limit is {MAX_RESULT // 1024} kB; "
        f"ask {usage} for less",
    )


def _too_slow(tool: AnyTool, seconds: float) -> ToolRefused:
    name = tool.spec.name
    if tool.spec.effect == "once":
        return _refused(
            "in_doubt",
            f"{name} did not finish within {seconds:.3g} s; it may or may not have had its "
            "effect, so do not call it again before someone has looked",
        )
    return _refused(
        "deadline", f"{name} did not finish within {seconds:.3g} s; ask it for less at once"
    )


def _only_cause(error: BaseException) -> BaseException:
    """The one error inside a task group's, however deep; a group of several stays as it is."""
    match error:
        case BaseExceptionGroup(exceptions=(only,)):
            return _only_cause(only)
        case _:
            return error


def _refused(code: str, message: str) -> ToolRefused:
    """One line, short, and encodable whatever a file's name or a library put into it."""
    line = " ".join(message.split()).encode("utf-8", "replace").decode()
    shown = line if len(line) <= _MAX_MESSAGE else f"{line[:_MAX_MESSAGE]}…"
    return ToolRefused(code=code, message=shown)
