"""Sends what the code has left in the scratch folder, once nothing of it runs any more.

The files are read here, inside the sandbox, as the user that has written them: wherever a link
leads, it leads to nothing that the code could not read. Links are not followed all the same.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

MOST_FILES = 50
MOST_DEPTH = 16

Send = Callable[[dict[str, Any], bytes], None]
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class _Left(NamedTuple):
    path: str
    size: int
    folder: int
    name: bytes


def send_files(folder: str, most: int, send: Send) -> None:
    """Every regular file, by name; those beyond `most` bytes together only by name and size."""
    sent = files = others = 0
    root = os.open(folder, _FOLDER)
    for left in _walk(root, "", 0):
        if left.size < 0:
            others += 1
            continue
        files += 1
        if files > MOST_FILES:
            continue
        content = _content(left) if sent + left.size <= most else None
        sent += len(content or b"")
        length = None if content is None else len(content)
        frame = {"kind": "file", "path": left.path, "size": left.size, "sent": length}
        send(frame, content or b"")
    send({"kind": "end", "more": max(0, files - MOST_FILES), "others": others}, b"")


def _walk(folder: int, prefix: str, depth: int) -> Iterator[_Left]:
    """What is no file, or cannot be looked at, has the size -1."""
    for name in sorted(os.fsencode(entry) for entry in os.listdir(folder)):
        path = prefix + name.decode("utf-8", "replace")
        unusable = _Left(path, -1, folder, name)
        try:
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if stat.S_ISREG(found.st_mode):
                yield _Left(path, found.st_size, folder, name)
            elif stat.S_ISDIR(found.st_mode) and depth < MOST_DEPTH:
                inner = os.open(name, _FOLDER, dir_fd=folder)
                try:
                    yield from _walk(inner, f"{path}/", depth + 1)
                finally:
                    os.close(inner)
            else:
                yield unusable
        except OSError:
            yield unusable


def _content(left: _Left) -> bytes | None:
    try:
        descriptor = os.open(left.name, _FILE, dir_fd=left.folder)
    except OSError:
        return None
    with open(descriptor, "rb") as file:
        return file.read(left.size)
