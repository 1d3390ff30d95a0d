"""The large content of one job: files and values put aside, and read back.

a file, bytes ─▶ blob, with its name, its type and how it begins
a JSON value  ─▶ blob: a text as it is, anything else as JSON; the media type tells them apart
many values   ─▶ the largest become blobs until the rest fits a message
"""

from collections.abc import Mapping
from mimetypes import MimeTypes
from pathlib import Path
from typing import Any

import anyio.to_thread
import msgspec

from galerne.bus.blob_files import readable
from galerne.bus.blobs import Blobs
from galerne.bus.connection import Bus
from galerne.errors import InvalidInputError, NotFoundError, TooLargeError
from galerne.messages.blobs import (
    MEGABYTE,
    PREVIEW,
    Blob,
    check_blobs,
    check_size,
    new_blob,
    packed,
    preview_of,
    to_value,
    unpacked,
)
from galerne.messages.codec import encode

MOST_VALUE = 16 * MEGABYTE
"""Bytes of a value that is read back into memory; what is larger is a file's work."""
MOST_NAMED = 1000
"""Blobs that one value may name: each is looked up."""
HEAD = PREVIEW * 4
"""Bytes that hold a preview in any script."""

_types = MimeTypes(filenames=())  # the built-in table: the same on every host


class JobBlobs:
    """Puts and gets for one job. Everything may raise TransientError."""

    def __init__(self, bus: Bus, tenant: str, job: str) -> None:
        self._blobs = Blobs(bus, bus.settings.max_blob)
        self._limit = bus.settings.max_blob
        self._tenant = tenant
        self._job = job

    async def put_file(
        self, path: Path, *, name: str | None = None, media: str | None = None
    ) -> Blob:
        """Store a file's content; name and media type are the file's unless they are given.

        Raises TooLargeError before anything is sent, InvalidInputError for what is not readable.
        """
        name = name or _plain_name(path)
        media = media or _types.guess_type(name or "")[0]
        blob = await self._blobs.put_file(self._tenant, self._job, path, name=name, media=media)
        with readable(path):
            return _with_preview(blob, await anyio.to_thread.run_sync(_head, path))

    async def put_bytes(
        self, data: bytes, *, name: str | None = None, media: str | None = None
    ) -> Blob:
        """Store what is in memory anyway. Raises TooLargeError."""
        media = media or _types.guess_type(name or "")[0]
        blob = await self._blobs.put_bytes(self._tenant, self._job, data, name=name, media=media)
        return _with_preview(blob, data[:HEAD])

    async def put_value(self, value: Any) -> Blob:
        """Store a JSON value. Raises TooLargeError."""
        data, media = packed(value)
        return await self.put_bytes(data, media=media)

    async def fitted(self, values: Mapping[str, Any], limit: int) -> dict[str, Any]:
        """The values, the largest of them as blobs where all have more than `limit` bytes.

        The same values give the same blobs. Raises TooLargeError.
        """
        fitting = dict(values)
        rest = len(encode(fitting))
        if rest <= limit:
            return fitting
        sizes = {name: len(encode(value)) for name, value in fitting.items()}
        for name in sorted(sizes, key=lambda name: (-sizes[name], name)):
            if rest <= limit:
                break
            fitting[name] = to_value(await self.put_value(fitting[name]))
            rest += len(encode(fitting[name])) - sizes[name]
        return fitting

    async def save_to(self, blob: Blob, path: Path) -> None:
        """Write the content to `path`, all of it or nothing. Raises as `Blobs.get_to`."""
        await self._blobs.get_to(self._tenant, self._job, blob, path)

    async def read(self, blob: Blob, most: int) -> bytes:
        """The first `most` bytes of the content. Raises as `save_to`."""
        return await self._blobs.read(self._tenant, self._job, blob, most)

    async def value_of(self, blob: Blob) -> Any:
        """The JSON value or the text that the content is.

        Raises TooLargeError, InvalidInputError where it is none, else as `save_to`.
        """
        check_size(blob.size, blob.name or "this content", MOST_VALUE)
        return unpacked(blob, await self.read(blob, MOST_VALUE))

    async def check(self, value: Any) -> None:
        """Whether all blobs that a JSON value names are this job's and there.

        Raises InvalidInputError (malformed), TooLargeError, NotFoundError.
        """
        named = {(blob.sha256, blob.size): blob for blob in check_blobs(value)}
        if len(named) > MOST_NAMED:
            raise TooLargeError(f"{len(named)} contents are named; {MOST_NAMED} are the most")
        for blob in named.values():
            check_size(blob.size, blob.name or "content", self._limit)
            if not await self._blobs.exists(self._tenant, self._job, blob):
                raise NotFoundError(
                    f"job {self._job} has no content {blob.sha256} of {blob.size} bytes:"
                    " name one that it was shown, or put it first"
                )


def weighed(path: Path, limit: int) -> Blob:
    """What will stand for a file that is still to be put: its size is right, its hash is not.

    Raises InvalidInputError where it cannot be read, TooLargeError above `limit` bytes.
    """
    with readable(path):
        if not path.is_file():
            raise InvalidInputError(f"{path} is no file: give one file by its path")
        size = path.stat().st_size
    check_size(size, str(path), limit)
    return Blob("0" * 64, size, name=_plain_name(path), preview="x" * PREVIEW)


def _with_preview(blob: Blob, head: bytes) -> Blob:
    return msgspec.structs.replace(blob, preview=preview_of(head))


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(HEAD)


def _plain_name(path: Path) -> str | None:
    """The file's own name, where a receiver may save under it."""
    try:
        return new_blob("0" * 64, 0, name=path.name).name
    except InvalidInputError:
        return None
