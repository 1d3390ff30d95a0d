"""Calling a tool over the bus, from an executor.

    send ─▶ busy: wait a little, send again          ─▶ nobody serves it: wait, then transient
         ─▶ working (repeated): go on waiting        ─▶ silence of three heartbeats: send again
         ─▶ pending until t: send again then         ─▶ result or error: done

Sending the same key again is always safe: the worker's journal answers it. Time that a call spends
behind the claim of a worker which may be dead is not taken from the tool: who performs it after
that has as long as the first had.
"""

import contextlib
import random
from collections.abc import Callable

import anyio
import anyio.abc
import msgspec

from galerne.bus.connection import Bus, Message
from galerne.errors import (
    DeadlineError,
    GalerneError,
    InvalidMessageError,
    TransientError,
    UnavailableError,
)
from galerne.faults import reach
from galerne.logs import get_logger
from galerne.messages.codec import decode_tool_reply, encode
from galerne.messages.tools import (
    Busy,
    CallTool,
    NeedsApproval,
    Pending,
    ToolOutcome,
    ToolRefused,
    ToolReply,
    ToolResult,
    Working,
)

log = get_logger("galerne.runtime.tools")

UNSERVED = 5.0
"""Seconds that a call waits for a worker of its tool before the task is given back."""
PENDING = 1.0
"""Seconds until a key that another worker holds is asked for again."""
LONGEST_CLAIM = 120.0
"""Seconds that a call waits behind others' claims at most: a sane one ends long before."""
REPLIES = 64
"""Replies of one try that wait to be read; heartbeats beyond that are dropped."""
GRACE = 5.0
"""Seconds after the tool's own deadline for its error to arrive."""


class ToolCaller:
    """Sends calls and waits for their outcomes. `heartbeat` is the workers', in seconds."""

    def __init__(self, bus: Bus, heartbeat: float, clock: Callable[[], float]) -> None:
        self._bus = bus
        self._silence = heartbeat * 3.2
        self._clock = clock

    async def call(self, call: CallTool) -> ToolOutcome | NeedsApproval:
        """The tool's answer. Raises UnavailableError (nobody serves it) and DeadlineError."""
        unserved_since: float | None = None
        begun = self._clock()
        allowed = call.deadline - begun
        while True:
            left = call.deadline + GRACE - self._clock()
            if left <= 0:
                raise DeadlineError(f"tool {call.tool} gave no answer in time")
            try:
                reply = await self._one_try(call, left)
            except UnavailableError:
                unserved_since = unserved_since or anyio.current_time()
                if anyio.current_time() - unserved_since > UNSERVED:
                    raise
                reply = Busy()
            except TransientError:
                continue  # silence: send the same key again
            match reply:
                case ToolResult() | ToolRefused() | NeedsApproval():
                    return reply
                case Pending(until=until):  # at most: its result may be there much sooner
                    over = min(until, begun + LONGEST_CLAIM) + allowed
                    call = msgspec.structs.replace(call, deadline=max(call.deadline, over))
                    rest = until - self._clock()
                    await anyio.sleep(min(max(rest, 0.05), PENDING, left))
                case _:
                    await anyio.sleep(random.uniform(0.02, 0.1))  # noqa: S311 - spreads retries

    async def _one_try(self, call: CallTool, left: float) -> ToolReply:
        """Send once; the first reply that is not a heartbeat. Raises TransientError."""
        send, receive = anyio.create_memory_object_stream[Message | GalerneError](REPLIES)

        def take(message: Message | GalerneError) -> None:
            with contextlib.suppress(anyio.WouldBlock):  # a babbling worker must not pile up
                send.send_nowait(message)

        reply_to = self._bus.expect(take, take, left + 1)
        try:
            with send, receive:
                reach("tool.sent.before")
                await self._bus.send(
                    self._bus.subjects.tool(call.tool), encode(call), reply=reply_to
                )
                reach("tool.sent.after")
                while True:
                    reply = await self._next(receive, call.tool)
                    if not isinstance(reply, Working):
                        return reply
        finally:
            self._bus.forget(reply_to)

    async def _next(
        self, receive: anyio.abc.ObjectReceiveStream[Message | GalerneError], tool: str
    ) -> ToolReply:
        try:
            with anyio.fail_after(self._silence):
                message = await receive.receive()
        except TimeoutError as error:
            raise DeadlineError(f"tool {tool} fell silent") from error
        if not isinstance(message, Message):
            raise DeadlineError(f"tool {tool}: {message}") from message
        if message.headers.get("Status") == "503":
            raise UnavailableError(
                f"no worker serves tool {tool}: start one with `galerne worker tools`"
            )
        try:
            return decode_tool_reply(message.data)
        except InvalidMessageError:
            log.warning("a tool worker's reply is unreadable", tool=tool)
            return Working(by="unknown")
