"""Large inputs on their way out of a client, and large results on their way in.

    Path ─▶ weighed, before anything is sent ─▶ uploaded under the job's name ─▶ blob in its place
    inputs above the inline limit            ─▶ the largest of them as blobs of JSON or text

What was uploaded for a job that then is refused, or never sent, is collected by the fleet.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import anyio
import msgspec

from galerne.bus.connection import Bus
from galerne.bus.job_blobs import JobBlobs, weighed
from galerne.client.patience import shown
from galerne.errors import NotFoundError, PermanentError, TransientError, UnavailableError
from galerne.messages.blobs import Bucket, check_size, is_blob, packed, to_blob, to_value
from galerne.messages.codec import encode
from galerne.settings import BusSettings
from galerne.tools import BlobFile

_LOOK = 1.0
"""Seconds to find out whether there is a store; who may not ask goes on without."""


def stand_ins(inputs: Mapping[str, Any], settings: BusSettings) -> dict[str, Any]:
    """The inputs as they will be sent, as far as sizes go, with nothing sent yet.

    Raises InvalidInputError for a file that cannot be read, TooLargeError for what is above
    `bus.max_blob`.
    """
    limit = settings.max_blob
    weighed_inputs = {name: _without_files(value, limit) for name, value in inputs.items()}
    sizes = {name: _size(value) for name, value in weighed_inputs.items()}
    rest = sum(sizes.values())
    for name in sorted(sizes, key=lambda name: -sizes[name]):
        if rest <= settings.inline:
            break
        data, _ = packed(weighed_inputs[name])
        check_size(len(data), f"the input {name}", limit)
        rest -= sizes[name]
        weighed_inputs[name] = None
    return weighed_inputs


def _size(value: Any) -> int:
    """Bytes of JSON; none for what is no JSON, which is refused when it is encoded to be sent."""
    try:
        return len(encode(value))
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError, RecursionError):
        return 0


def _without_files(value: Any, limit: int) -> Any:
    """The value with what will stand for its files."""
    match value:
        case Path():
            return to_value(weighed(value, limit))
        case dict():
            fields = cast("Mapping[str, Any]", value)
            return {name: _without_files(inner, limit) for name, inner in fields.items()}
        case list() | tuple():
            return [_without_files(inner, limit) for inner in cast("Sequence[Any]", value)]
        case _:
            return value


async def uploaded(bus: Bus, tenant: str, job: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs as they are sent, after their files and what is large have been stored.

    Raises InvalidInputError, TooLargeError, UnavailableError.
    """
    blobs, inline = JobBlobs(bus, tenant, job), bus.settings.inline
    if not any(map(_has_file, inputs.values())) and len(encode(inputs)) <= inline:
        return dict(inputs)
    await _require_store(bus)
    sent = {name: await _with_blobs(value, blobs.put_file) for name, value in inputs.items()}
    return await blobs.fitted(sent, inline)


def _has_file(value: Any) -> bool:
    match value:
        case Path():
            return True
        case dict():
            return any(map(_has_file, cast("Mapping[str, Any]", value).values()))
        case list() | tuple():
            return any(map(_has_file, cast("Sequence[Any]", value)))
        case _:
            return False


async def _with_blobs(value: Any, put: Callable[[Path], Awaitable[Any]]) -> Any:
    match value:
        case Path():
            return to_value(await put(value))
        case dict():
            fields = cast("Mapping[str, Any]", value)
            return {name: await _with_blobs(inner, put) for name, inner in fields.items()}
        case list() | tuple():
            return [await _with_blobs(inner, put) for inner in cast("Sequence[Any]", value)]
        case _:
            return value


async def _require_store(bus: Bus) -> None:
    """Raises UnavailableError where there surely is none, instead of waiting for one."""
    server = shown(bus.settings.server or "")
    with anyio.move_on_after(_LOOK):
        try:
            await bus.api(f"STREAM.INFO.{Bucket(bus.subjects.stream('BLOBS')).stream}")
        except NotFoundError as error:
            raise UnavailableError(
                f"the fleet on {server} has no store for large inputs: start one of this version"
                f" there (`galerne up --server {server}`)"
            ) from error
        except (TransientError, PermanentError):
            return


def received(bus: Bus, tenant: str, job: str, value: Any) -> Any:
    """A result as its user gets it: a file to fetch where it was put aside, else the value."""
    if not is_blob(value):
        return value
    return BlobFile(to_blob(value), JobBlobs(bus, tenant, job))
