"""Content that is too large to be shown to a model, kept in memory for as long as the run's result.

It takes the place of the Object Store: files given as inputs, large results of tools and tasks.
"""

import hashlib
from collections.abc import Mapping, Sequence
from mimetypes import MimeTypes
from pathlib import Path
from typing import Any, cast

import anyio.to_thread
import msgspec

from galerne.core.looked_into import looked_into
from galerne.errors import InvalidInputError, NotFoundError
from galerne.messages.blobs import (
    PREVIEW,
    Blob,
    check_size,
    find_blobs,
    is_blob,
    is_value,
    new_blob,
    packed,
    preview_of,
    size_text,
    to_blob,
    to_value,
    unpacked,
)
from galerne.messages.codec import encode
from galerne.messages.facts import Ready

_HEAD = PREVIEW * 4
"""Bytes that hold a preview in any script."""

_types = MimeTypes(filenames=())  # the built-in table: the same on every host


class MemoryBlobs:
    """A `tools.BlobStore`. `limit` is in bytes of one content, `inline` of a value in a fact."""

    def __init__(self, limit: int, inline: int) -> None:
        self._limit = limit
        self._inline = inline
        self._contents: dict[str, bytes] = {}

    def __repr__(self) -> str:
        size = sum(map(len, self._contents.values()))
        return f"<{len(self._contents)} contents, {size_text(size)}>"

    async def put_file(
        self, path: Path, *, name: str | None = None, media: str | None = None
    ) -> Blob:
        """Raises TooLargeError, InvalidInputError for what is not readable."""
        try:
            check_size((await anyio.Path(path).stat()).st_size, str(path), self._limit)
            data = await anyio.to_thread.run_sync(path.read_bytes)
        except OSError as error:
            raise InvalidInputError(
                f"{path} cannot be read ({error.strerror or error}): give one file by its path"
            ) from error
        return await self.put_bytes(data, name=name or path.name, media=media)

    async def put_bytes(
        self, data: bytes, *, name: str | None = None, media: str | None = None
    ) -> Blob:
        """Raises TooLargeError, InvalidInputError for a name with folders and the like."""
        check_size(len(data), name or "this content", self._limit)
        media = media or _types.guess_type(name or "")[0]
        blob = new_blob(hashlib.sha256(data).hexdigest(), len(data), name=name, media=media)
        self._contents[blob.sha256] = data
        return msgspec.structs.replace(blob, preview=preview_of(data[:_HEAD]))

    async def save_to(self, blob: Blob, path: Path) -> None:
        """Raises NotFoundError, InvalidInputError where nothing can be written there."""
        data = self._content(blob)
        try:
            await anyio.Path(path).write_bytes(data)
        except OSError as error:
            raise InvalidInputError(
                f"{path} cannot be written ({error.strerror or error}): give another path"
            ) from error

    async def read(self, blob: Blob, most: int) -> bytes:
        """Raises NotFoundError."""
        return self._content(blob)[:most]

    async def inputs(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """A run's inputs as facts hold them: files and what is large by name.

        Raises InvalidInputError for a file that cannot be read and for what is no JSON.
        """
        named = {name: await self._without_files(value) for name, value in values.items()}
        try:
            plain: dict[str, Any] = msgspec.json.decode(encode(named))
        except (msgspec.MsgspecError, TypeError, ValueError, OverflowError, RecursionError) as bad:
            raise InvalidInputError(f"the inputs are not JSON: {bad}") from bad
        return {name: await self.fitted(value) for name, value in plain.items()}

    async def fitted(self, value: Any) -> Any:
        """A JSON value as a fact holds it. Raises TooLargeError."""
        if len(encode(value)) <= self._inline:
            return value
        data, media = packed(value)
        return to_value(await self.put_bytes(data, media=media))

    async def opened(self, ready: Ready) -> Ready:
        """A tool task with the values read back that its arguments refer into."""
        if ready.task.kind != "tool" or next(find_blobs(ready.inputs), None) is None:
            return ready
        inputs = dict(ready.inputs)
        for task in looked_into(ready.task.args):
            value = inputs.get(task)
            if is_blob(value) and is_value(blob := to_blob(value)):
                inputs[task] = unpacked(blob, self._content(blob))
        return msgspec.structs.replace(ready, inputs=inputs)

    def check(self, value: Any) -> None:
        """Raises NotFoundError where a JSON value names content that is not there."""
        for blob in find_blobs(value):
            self._content(blob)

    def _content(self, blob: Blob) -> bytes:
        data = self._contents.get(blob.sha256)
        if data is None or len(data) != blob.size:
            raise NotFoundError(
                f"there is no content {blob.sha256} of {blob.size} bytes: name one that was shown"
            )
        return data

    async def _without_files(self, value: Any) -> Any:
        match value:
            case Path():
                return to_value(await self.put_file(value))
            case dict():
                fields = cast("Mapping[str, Any]", value)
                return {name: await self._without_files(inner) for name, inner in fields.items()}
            case list() | tuple():
                return [await self._without_files(inner) for inner in cast("Sequence[Any]", value)]
            case _:
                return value
