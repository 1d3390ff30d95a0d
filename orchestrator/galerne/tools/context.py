"""What a tool may know about the call that it answers, and the large content that it may handle.

A parameter of type `BlobFile` takes content that is too large for a message: the model gives its
name, the tool reads the content when it wants to, to a file or the first part into memory. What a
tool puts with `context.blobs` may stand anywhere in its result.
"""

import tempfile
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

import anyio.to_thread
import msgspec
import structlog

from galerne.errors import InvalidInputError, NotFoundError, TooLargeError
from galerne.messages.blobs import Blob, check_size

log: structlog.typing.FilteringBoundLogger = structlog.get_logger("galerne.tools")

MOST_IN_MEMORY = 16 * 1024 * 1024
"""Bytes of content that are read into memory unless somebody says otherwise."""


class BlobStore(Protocol):
    """The large content of one job. A tool that is tested without a bus brings its own."""

    async def put_file(
        self, path: Path, *, name: str | None = None, media: str | None = None
    ) -> Blob:
        """Store a file, named as it is unless `name` is given. Raises TooLargeError."""
        ...

    async def put_bytes(
        self, data: bytes, *, name: str | None = None, media: str | None = None
    ) -> Blob:
        """Store what is in memory anyway. Raises TooLargeError."""
        ...

    async def save_to(self, blob: Blob, path: Path) -> None:
        """Write the content to `path`, all of it or nothing.

        Raises NotFoundError, PermanentError (damaged), TransientError.
        """
        ...

    async def read(self, blob: Blob, most: int) -> bytes:
        """The first `most` bytes of the content. Raises as `save_to`."""
        ...


class NoBlobs:
    """Where there is no store: every content is too large, and none is there."""

    async def put_file(
        self, path: Path, *, name: str | None = None, media: str | None = None
    ) -> Blob:
        what = f"{name or path} ({media or 'no media type'})"
        raise TooLargeError(f"{what}: there is no store for large content here")

    async def put_bytes(
        self, data: bytes, *, name: str | None = None, media: str | None = None
    ) -> Blob:
        what = f"{name or 'content'} ({len(data)} bytes, {media or 'no media type'})"
        raise TooLargeError(f"{what}: there is no store for large content here")

    async def save_to(self, blob: Blob, path: Path) -> None:
        raise NotFoundError(f"{blob.sha256} for {path}: there is no store for large content here")

    async def read(self, blob: Blob, most: int) -> bytes:
        raise NotFoundError(f"{most} bytes of {blob.sha256}: there is no store for them here")


NO_BLOBS: BlobStore = NoBlobs()


class BlobFile:
    """Content in the Object Store: a large input, result or answer. Nothing is read before asked.

    `size` is in bytes; `name` a file's name without folders, `media` a type as `text/csv`, where
    they are known.
    """

    def __init__(self, blob: Blob, store: BlobStore) -> None:
        self.blob = blob
        self._store = store

    def __repr__(self) -> str:
        return f"<{self.name or 'content'}: {self.size} bytes, {self.blob.sha256[:12]}…>"

    @property
    def size(self) -> int:
        return self.blob.size

    @property
    def name(self) -> str | None:
        return self.blob.name

    @property
    def media(self) -> str | None:
        return self.blob.media

    async def save_to(self, path: Path | str) -> None:
        """Write it to a file, all of it (its hash is compared) or nothing.

        Raises NotFoundError, PermanentError (damaged, or not writable), TransientError.
        """
        await self._store.save_to(self.blob, Path(path))

    async def read(self, limit: int = MOST_IN_MEMORY) -> bytes:
        """All of it, in memory. Raises TooLargeError above `limit` bytes, else as `save_to`."""
        if limit < 0:
            raise InvalidInputError(f"limit is {limit}: give a number of bytes")
        check_size(self.size, self.name or "this content", limit)
        return await self._store.read(self.blob, limit)

    async def head(self, most: int) -> bytes:
        """Its first `most` bytes. Raises as `save_to`."""
        return await self._store.read(self.blob, most)

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[BinaryIO]:
        """A file with the content, open for reading, which is gone afterwards."""
        folder = await anyio.to_thread.run_sync(tempfile.TemporaryDirectory)
        try:
            path = Path(folder.name) / "content"
            await self.save_to(path)
            with path.open("rb") as file:
                yield file
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(folder.cleanup)


class Progress(Protocol):
    """Tells whoever watches how far a call has come."""

    def __call__(self, text: str, fraction: float | None = None) -> None:
        """`fraction` is from 0 to 1. Never waits, and may be called from a thread."""
        ...


def nobody_watches(text: str, fraction: float | None = None) -> None:
    """Progress that nobody is told of."""
    log.debug("progress", text=text, fraction=fraction)


def _never() -> bool:
    return False


class ToolContext(msgspec.Struct, frozen=True, kw_only=True):
    """Given to a tool whose function has a parameter of this type; models never see it.

    `key` names the call for ever: an `idempotent` tool hands it on, so that a repeated call has
    its effect once. `deadline` and what `clock()` gives are in Unix seconds. `blobs` takes large
    content: what it gives may stand anywhere in the result. `progress(text, fraction)` is for who
    watches. `cancelled()` says whether nobody waits for the call any more: a coroutine is stopped
    then, a plain function in a thread has to look.
    """

    key: str
    deadline: float
    tenant: str
    clock: Callable[[], float]
    blobs: BlobStore = NO_BLOBS
    progress: Progress = nobody_watches
    cancelled: Callable[[], bool] = _never

    @property
    def log(self) -> structlog.typing.FilteringBoundLogger:
        """A logger whose lines name the call. What it logs, no model reads."""
        return log.bind(key=self.key, tenant=self.tenant)
