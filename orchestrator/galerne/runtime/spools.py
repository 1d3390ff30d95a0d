"""The spools of this host, one file a process: what dead processes left is published.

    a process starts           all that dead ones left is published, and their files go
    a task is taken over       what anybody's file holds of it is published; the files stay

Publishing is write-once, so doing it again with what had already arrived is harmless.
"""

import contextlib
import fcntl
import os
from collections.abc import Awaitable, Callable, Generator, Iterator
from pathlib import Path

import msgspec

from galerne.faults import reach

DEFAULT_FOLDER = "~/.local/state/galerne/spool"
NEW = ".new"
"""Ends the name of a file that is being written anew, until it takes the old one's place."""


class Spooled(msgspec.Struct, frozen=True):
    """A message to publish once: its id, its subject, its bytes (base64 on disk)."""

    id: str
    subject: str
    data: bytes


encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(Spooled).decode


def spool_folder(configured: str | None, cluster: str) -> Path:
    """The spool of one cluster: what was paid for there must not reach another server's log."""
    return Path(configured or DEFAULT_FOLDER).expanduser() / cluster


def _left_behind(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.spool"))


def _cut_short(folder: Path) -> list[Path]:
    """Files that never took the place of the old one, which had everything."""
    return sorted(folder.glob(f"*.spool{NEW}"))


async def replay(folder: Path, publish: Callable[[Spooled], Awaitable[None]]) -> int:
    """Publish what dead processes left in `folder`. Gives the number of results."""
    count = 0
    for path in _left_behind(folder):
        with _locked(path) as alone:
            if not alone:
                continue  # its process lives
            for message in read_spool(path):
                reach("spool.replay.before")
                await publish(message)
                reach("spool.replay.after")
                count += 1
            reach("spool.remove.before")
            path.unlink(missing_ok=True)
            reach("spool.remove.after")
    for path in _cut_short(folder):
        with _locked(path) as alone:
            if alone:
                path.unlink(missing_ok=True)
    return count


@contextlib.contextmanager
def _locked(path: Path) -> Generator[bool]:
    """Hold the file's lock, if it is free."""
    try:
        file = os.open(path, os.O_RDWR)
    except OSError:
        yield False
        return
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield is_at(file, path)
    finally:
        os.close(file)


def is_at(file: int, path: Path) -> bool:
    """Whether the open file is still the one that others find under the path."""
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def read_spool(path: Path) -> Iterator[Spooled]:
    """The whole lines of a file; the last one may be torn, and was then never relied on."""
    for line in path.read_bytes().split(b"\n"):
        try:
            yield decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue


def held_in(folder: Path, subject: str) -> list[Spooled]:
    found: list[Spooled] = []
    for path in _left_behind(folder):
        with contextlib.suppress(OSError):  # replayed and removed: so the bus has it
            found += [one for one in read_spool(path) if one.subject.startswith(subject)]
    return found
