"""The local side of blobs: files read and written in threads, and their errors."""

import hashlib
import os
import tempfile
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from galerne.errors import InvalidInputError, PermanentError
from galerne.messages.blobs import MEGABYTE


def hash_file(path: Path, limit: int) -> tuple[str, int]:
    """The hash and the number of bytes; it stops soon above the limit."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while size <= limit and (piece := file.read(MEGABYTE)):
            digest.update(piece)
            size += len(piece)
    return digest.hexdigest(), size


def take_window(
    file: BinaryIO, chunk: int, most: int, hash_it: Callable[[bytes], object]
) -> list[bytes]:
    """The next chunks of a file, `most` of them."""
    pieces: list[bytes] = []
    while len(pieces) < most and (piece := file.read(chunk)):
        hash_it(piece)
        pieces.append(piece)
    return pieces


def write_pieces(file: BinaryIO, pieces: list[bytes], hash_it: Callable[[bytes], object]) -> None:
    for piece in pieces:
        hash_it(piece)
        file.write(piece)


def scratch(folder: Path) -> BinaryIO:
    """A file without a name: it goes with this process."""
    return cast("BinaryIO", tempfile.TemporaryFile(dir=folder))


def sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def from_start(file: BinaryIO) -> BinaryIO:
    """Another handle on a file that only this one still names."""
    file.flush()
    handle = os.fdopen(os.dup(file.fileno()), "rb")
    handle.seek(0)
    return handle


async def each_piece(chunks: AsyncIterable[bytes] | Iterable[bytes]) -> AsyncGenerator[bytes]:
    if isinstance(chunks, AsyncIterable):
        async for piece in chunks:
            yield piece
        return
    for piece in chunks:
        yield piece


@contextmanager
def readable(path: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise InvalidInputError(f"cannot read {path}: {error.strerror or error}") from error


@contextmanager
def writable(path: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise PermanentError(f"cannot write {path}: {error.strerror or error}") from error
