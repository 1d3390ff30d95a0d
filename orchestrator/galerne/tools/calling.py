"""One call of a tool, from JSON arguments to something that a model can read.

Wrong arguments, a tool that says no, one that is too slow, one that has a bug, a result above every
limit: each comes back as a `ToolRefused` whose message is one line for the model. Only the
caller's own cancellation passes through. A bug's traceback goes to the log, never to the model.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable
from functools import partial
from inspect import isawaitable
from threading import Event
from typing import Any, NamedTuple

import anyio
import anyio.to_thread
import msgspec
import structlog

from galerne.core.refusals import refusal
from galerne.errors import GalerneError, TooLargeError, TransientError
from galerne.messages.blobs import (
    check_size,
    describe,
    is_blob,
    is_value,
    packed,
    to_blob,
    to_value,
    unpacked,
)
from galerne.messages.codec import encode
from galerne.messages.tools import ToolOutcome, ToolRefused, ToolResult
from galerne.tools.context import MOST_IN_MEMORY, NO_BLOBS, BlobFile, ToolContext
from galerne.tools.contract import AnyTool, is_async
from galerne.tools.schema import signature_line

MAX_RESULT = 256 * 1024
"""Bytes of an encoded `ToolResult`: half of what a message on the bus may hold by default."""

_BEGINNING = 1000
"""Characters of a result that was put aside which a model reads."""
_PAUSE = 1.0
"""Seconds between two tries to store a result."""

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger("galerne.tools")


class _Made(NamedTuple):
    """What a tool has made; `size` in bytes as it would be sent."""

    result: ToolResult
    size: int


async def invoke(
    tool: AnyTool,
    arguments: dict[str, Any],
    context: ToolContext,
    *,
    inline: int = MAX_RESULT,
    begin: Callable[[], Awaitable[None]] | None = None,
) -> ToolOutcome:
    """Decode, run within the tool's timeout and the call's deadline, encode.

    A result of more than `inline` bytes is put aside with `context.blobs`, and the model reads
    what it is and how it begins. `begin` is awaited last before the tool runs; what it raises
    keeps the tool from running, and passes through.

    Codes of a refusal: `invalid_input`, `deadline`, `too_large`, `tool_bug`, `in_doubt` (a `once`
    tool that was still at it when its time was up), or that of the GalerneError that it raised.
    """
    try:
        given = await _read_in(tool, arguments, context)
        keywords = tool.parameters.decode(given, context.blobs)
    except GalerneError as error:
        return refusal(error.code, str(error))
    except Exception as error:  # noqa: BLE001 - a type's own code has failed, or a library's
        return _bug(tool, context, error, "could not read its arguments")
    if begin is not None:
        await begin()
    name, timeout = tool.spec.name, tool.spec.timeout
    seconds = min(timeout, context.deadline - context.clock())
    if seconds <= 0:
        return refusal("deadline", f"{name} was not begun: the call's time was already over")
    over = Event()
    context = msgspec.structs.replace(context, cancelled=over.is_set)
    if tool.parameters.context is not None:
        keywords[tool.parameters.context] = context
    outcome: ToolRefused | _Made | None = None
    try:
        with anyio.move_on_after(seconds):
            outcome = await _attempt(tool, keywords, context)
    finally:
        over.set()
    match outcome:
        case None:
            return _too_slow(tool, seconds)
        case ToolRefused():
            return outcome
        case _ if outcome.size <= inline:
            return outcome.result
        case _:
            if context.blobs is NO_BLOBS:
                return _too_large(tool, outcome.size, f"the limit is {inline // 1024} kB")
            return await _put_aside(tool, outcome, context)


async def _read_in(
    tool: AnyTool, arguments: dict[str, Any], context: ToolContext
) -> dict[str, Any]:
    """The arguments, with what was put aside read where a parameter takes no file."""
    given = dict(arguments)
    for name, blob in tool.parameters.to_read(arguments).items():
        if is_value(blob):
            check_size(blob.size, name, MOST_IN_MEMORY)
            given[name] = unpacked(blob, await context.blobs.read(blob, MOST_IN_MEMORY))
    return given


async def _attempt(
    tool: AnyTool, keywords: dict[str, Any], context: ToolContext
) -> ToolRefused | _Made:
    what = "failed inside"
    try:
        given = await _run(tool, keywords)
        what = "gave a result that does not serialise"
        return _result(given)
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as raised:  # the boundary: libraries written in Rust raise such, too
        if isinstance(raised, asyncio.CancelledError) and _is_cancelled():
            raise
        error = _only_cause(raised)
        if isinstance(error, GalerneError):
            return refusal(error.code, str(error) or f"{tool.spec.name} refused without a reason")
        return _bug(tool, context, raised, what)


def _is_cancelled() -> bool:
    """Whether this call is, and not something that the tool has waited for."""
    task = asyncio.current_task()
    by_its_task = task is not None and task.cancelling() > 0
    return by_its_task or anyio.current_effective_deadline() == -math.inf


async def _run(tool: AnyTool, keywords: dict[str, Any]) -> Any:
    if is_async(tool.function):
        return await tool.function(**keywords)
    call = partial(tool.function, **keywords)
    made = await anyio.to_thread.run_sync(call, abandon_on_cancel=True)
    return await made if isawaitable(made) else made


def _result(value: Any) -> _Made:
    plain = msgspec.to_builtins(value, str_keys=True, order="deterministic", enc_hook=_own)
    result = ToolResult(value=plain, content=_content(plain))
    return _Made(result, len(encode(result)))


class _NoJsonError(NotImplementedError):
    """A value of a type that has no form in JSON; its words are the type's name."""


def _own(value: Any) -> Any:
    """What a type of ours is in JSON. Raises _NoJsonError."""
    if isinstance(value, BlobFile):
        return to_value(value.blob)
    raise _NoJsonError(f"{type(value).__name__} is no JSON")


def _content(plain: Any) -> str:
    if is_blob(plain):
        return describe(to_blob(plain))
    return plain if isinstance(plain, str) else encode(plain).decode()


async def _put_aside(tool: AnyTool, made: _Made, context: ToolContext) -> ToolOutcome:
    """A large result by its name. The tool has done its work, so this is tried until it stands."""
    data, media = packed(made.result.value)
    while True:
        try:
            blob = await context.blobs.put_bytes(data, media=media)
            break
        except TooLargeError as error:
            return _too_large(tool, made.size, str(error))
        except TransientError as error:
            _log.warning("a result cannot be stored yet", key=context.key, error=str(error))
        await anyio.sleep(_PAUSE)
    content = describe(blob, made.result.content[:_BEGINNING])
    return ToolResult(value=to_value(blob), content=content)


def _too_large(tool: AnyTool, size: int, why: str) -> ToolRefused:
    usage = signature_line(tool.spec.name, tool.spec.parameters)
    return refusal("too_large", f"the result has {size // 1024} kB, {why}; ask {usage} for less")


def _too_slow(tool: AnyTool, seconds: float) -> ToolRefused:
    name = tool.spec.name
    if tool.spec.effect == "once":
        return refusal(
            "in_doubt",
            f"{name} did not finish within {seconds:.3g} s; it may or may not have had its "
            "effect, so do not call it again before someone has looked",
        )
    return refusal(
        "deadline", f"{name} did not finish within {seconds:.3g} s; ask it for less at once"
    )


def _only_cause(error: BaseException) -> BaseException:
    """The one error inside a task group's, however deep; a group of several stays as it is."""
    match error:
        case BaseExceptionGroup(exceptions=(only,)):
            return _only_cause(only)
        case _:
            return error


def _bug(tool: AnyTool, context: ToolContext, raised: BaseException, what: str) -> ToolRefused:
    name = tool.spec.name
    _log.error("tool_bug", tool=name, key=context.key, tenant=context.tenant, exc_info=raised)
    cause = _only_cause(raised)
    why = str(cause) if isinstance(cause, _NoJsonError) else type(cause).__name__
    return refusal("tool_bug", f"{name} {what}: {why}")
