"""What is too large for a message, on its way through a job: put aside, and read where it is meant.

    a task's value above the limit      ─▶ blob, before `done` is written
    a tool's result, a call's arguments ─▶ blob, before they are sent
    inputs that do not fit `ready`      ─▶ the largest as blobs
    a tool task that refers *into* a value that was put aside ─▶ read back for it

A whole reference (`{"$ref": "2"}`) hands the blob on, unread; the tool worker reads it where the
tool's parameter wants the value itself.
"""

from typing import Any

import anyio
import msgspec

from galerne.bus.connection import Bus
from galerne.bus.job_blobs import JobBlobs
from galerne.core.looked_into import looked_into
from galerne.errors import PermanentError, TransientError
from galerne.logs import get_logger
from galerne.messages.blobs import describe, find_blobs, is_blob, is_value, to_blob, to_value
from galerne.messages.codec import encode
from galerne.messages.facts import Done, Ready
from galerne.messages.plan import Outcome, Succeeded
from galerne.messages.subjects import JobAddress
from galerne.messages.tools import ToolOutcome, ToolRefused, ToolResult

log = get_logger("galerne.runtime.blobs")

BEGINNING = 1000
"""Characters of a large result that a model reads."""
PAUSE = 1.0
"""Seconds between two tries of what must be stored."""


class LargeValues:
    """Puts aside and reads back over one connection."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._inline = bus.settings.inline

    def of(self, address: JobAddress) -> JobBlobs:
        return JobBlobs(self._bus, address.tenant, address.job)

    async def outcome(self, address: JobAddress, outcome: Outcome) -> Outcome:
        """What `done` can hold. Raises TooLargeError, TransientError."""
        if not isinstance(outcome, Succeeded) or _size(outcome.value) <= self._inline:
            return outcome
        blob = to_value(await self.of(address).put_value(outcome.value))
        return msgspec.structs.replace(outcome, value=blob)

    async def result(self, address: JobAddress, outcome: ToolOutcome) -> ToolOutcome:
        """What a step can hold of what a tool worker in another language has sent.

        Raises TransientError.
        """
        if not isinstance(outcome, ToolResult) or len(encode(outcome)) <= self._inline:
            return outcome
        blob = await self.of(address).put_value(outcome.value)
        content = describe(blob, outcome.content[:BEGINNING])
        return ToolResult(value=to_value(blob), content=content)

    async def arguments(self, address: JobAddress, arguments: dict[str, Any]) -> dict[str, Any]:
        """What a call can hold. Raises TooLargeError, TransientError."""
        return await self.of(address).fitted(arguments, self._inline)

    async def refusal(self, address: JobAddress, arguments: dict[str, Any]) -> ToolRefused | None:
        """Why a call's arguments cannot be used: a malformed blob, or one of another job."""
        try:
            await self.of(address).check(arguments)
        except PermanentError as error:
            return ToolRefused(code=error.code, message=str(error))
        return None

    async def ready(self, address: JobAddress, ready: Ready) -> Ready:
        """A task with its largest inputs put aside, tried until it is done.

        Raises PermanentError (TooLargeError).
        """
        rest = len(encode(msgspec.structs.replace(ready, inputs={})))
        room = max(0, self._bus.settings.max_payload - rest)
        while True:
            try:
                inputs = await self.of(address).fitted(ready.inputs, room)
                return msgspec.structs.replace(ready, inputs=inputs)
            except TransientError as error:
                log.warning("a task's inputs cannot be stored yet", error=str(error))
            await anyio.sleep(PAUSE)

    async def done(self, address: JobAddress, done: Done) -> Done:
        """An outcome with its value put aside, tried until it is done. Raises TooLargeError."""
        while True:
            try:
                outcome = await self.outcome(address, done.outcome)
                return msgspec.structs.replace(done, outcome=outcome)
            except TransientError as error:
                log.warning("a task's result cannot be stored yet", error=str(error))
            await anyio.sleep(PAUSE)

    async def opened(self, address: JobAddress, ready: Ready) -> Ready:
        """A tool task with the values read back that its arguments refer into.

        Raises TooLargeError, NotFoundError, TransientError.
        """
        if ready.task.kind != "tool" or next(find_blobs(ready.inputs), None) is None:
            return ready
        inputs = dict(ready.inputs)
        for task in looked_into(ready.task.args):
            value = inputs.get(task)
            if is_blob(value) and is_value(blob := to_blob(value)):
                inputs[task] = await self.of(address).value_of(blob)
        return msgspec.structs.replace(ready, inputs=inputs)


def _size(value: Any) -> int:
    """Bytes of a value as JSON; none for what is no JSON, which its writer refuses."""
    try:
        return len(encode(value))
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError, RecursionError):
        return 0
