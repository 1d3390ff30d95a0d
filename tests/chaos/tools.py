"""Tools that keep a ledger of their own: what really happened, told by nobody but the effect.

    {"event": "begin" | "effect" | "end", "key", "tool", "note", "pid", "time"}      one line each

The line `effect` *is* the effect: a tool that has written it twice for one call has done twice
what it was asked for once. Half of the time of a call lies before it, half after. The module is
found by its entry point, as any package's tools are (`zygote.install`).
"""

import json
import os
import time
from typing import Any

import anyio

from galerne.errors import ToolError
from galerne.tools import ToolContext, tool

LEDGER = "CHAOS_TOOL_LEDGER"
"""Variable with the path of the ledger."""
TAKES = 0.06
"""Seconds of a call, where it does not say otherwise."""


@tool(effect="pure")
async def chaos_pure(note: str, context: ToolContext, seconds: float = TAKES) -> dict[str, Any]:
    """Note something; repeating it changes nothing.

    Args:
        note: What to note.
        seconds: How long to take.
    """
    return await _act("chaos_pure", note, context, seconds)


@tool(effect="idempotent")
async def chaos_idempotent(
    note: str, context: ToolContext, seconds: float = TAKES
) -> dict[str, Any]:
    """Note something under the key of the call; the same key is the same note.

    Args:
        note: What to note.
        seconds: How long to take.
    """
    return await _act("chaos_idempotent", note, context, seconds)


@tool(effect="once")
async def chaos_once(note: str, context: ToolContext, seconds: float = TAKES) -> dict[str, Any]:
    """Note something that must not be noted twice.

    Args:
        note: What to note.
        seconds: How long to take.
    """
    return await _act("chaos_once", note, context, seconds)


@tool
async def chaos_fail(note: str) -> dict[str, Any]:
    """Fail, always.

    Args:
        note: Why.
    """
    raise ToolError(f"failed as asked: {note}")


async def _act(name: str, note: str, context: ToolContext, seconds: float) -> dict[str, Any]:
    _write("begin", name, note, context.key)
    await anyio.sleep(seconds / 2)
    _write("effect", name, note, context.key)
    await anyio.sleep(seconds / 2)
    _write("end", name, note, context.key)
    return {"noted": note}


def _write(event: str, name: str, note: str, key: str) -> None:
    """One write to a file opened for appending, so that it survives a kill and is never torn."""
    line: dict[str, object] = {"event": event, "key": key, "tool": name, "note": note}
    line |= {"pid": os.getpid(), "time": time.time()}
    file = os.open(os.environ[LEDGER], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(file, json.dumps(line).encode() + b"\n")
    finally:
        os.close(file)
