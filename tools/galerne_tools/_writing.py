"""Files under the root are written whole or not at all.

    lock on the folder ─▶ what a dead writer left is removed ─▶ .NAME.galerne-RANDOM, synced
        ─▶ renamed over NAME (or linked, where NAME must be new) ─▶ the folder is synced

Whoever reads NAME sees the old file or the new one, also when the machine stops in between. The
lock is the kernel's, on the folder's descriptor, and goes with the process that held it: workers
that edit one file, in whichever process, do so one after the other, and none loses another's edit.
"""

import fcntl
import os
import secrets
import stat
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress

import msgspec

from galerne.errors import ToolError
from galerne.settings import DEFAULT_FILE
from galerne_tools._root import Root, check_wanted

MAX_FILE = 4 * 1024 * 1024
"""Bytes of a file that is edited or written."""

KEPT = frozenset({".git", str(DEFAULT_FILE)})
"""What git runs or trusts, and the settings of the fleet that writes."""

_MARK = ".galerne-"
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_RIGHTS = 0o666
_PAUSE = 0.01
_LONGEST_NAME = 255 - len(_MARK) - 18
"""Bytes of a name that still has room for what a file under way is called."""

Change = Callable[[bytes | None], bytes]
"""From what the file holds (None: there is none) to what it shall hold."""


class Written(msgspec.Struct, frozen=True):
    """`created`: there was no such file before."""

    data: bytes
    created: bool


def rewrite(root: Root, path: str, change: Change) -> Written:
    """Put `change` of a file in its place. Missing folders are made.

    Raises ToolError, one line for the model, and whatever `change` raises; then nothing is changed.
    """
    with root.place(path, KEPT) as (folder, name), _locked(folder):
        if len(os.fsencode(name)) > _LONGEST_NAME:
            raise ToolError(f"{path} has too long a name; take a shorter one")
        _remove_leftovers(folder, name)
        before, rights = _content(folder, name, path)
        data = change(before)
        if len(data) > MAX_FILE:
            raise ToolError(f"{path} would be larger than {MAX_FILE >> 20} MB, the most for a file")
        if data != before:
            _replace(folder, name, data, rights)
        return Written(data, before is None)


def _content(folder: int, name: str, path: str) -> tuple[bytes | None, int | None]:
    """What the file holds and who may do what with it. Raises ToolError, OSError."""
    try:
        mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return None, None
    if stat.S_ISDIR(mode):
        raise ToolError(f"{path} is a folder; give the path of a file")
    if not stat.S_ISREG(mode):
        raise ToolError(f"{path} is not a regular file, so it is not written")
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with os.fdopen(os.open(name, flags, dir_fd=folder), "rb") as file:
        data = file.read(MAX_FILE + 1)
    if len(data) > MAX_FILE:
        raise ToolError(f"{path} is larger than {MAX_FILE >> 20} MB, the most that can be edited")
    return data, stat.S_IMODE(mode)


def _replace(folder: int, name: str, data: bytes, rights: int | None) -> None:
    under_way = f".{name}{_MARK}{secrets.token_hex(8)}"
    descriptor = os.open(under_way, _NEW, _RIGHTS, dir_fd=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if rights is not None:
                os.fchmod(file.fileno(), rights)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        check_wanted()
        os.rename(under_way, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with suppress(OSError):
            os.unlink(under_way, dir_fd=folder)
        raise
    os.fsync(folder)


def _remove_leftovers(folder: int, name: str) -> None:
    """Of writers of this file that died: while the lock is ours, none is alive."""
    begin = f".{name}{_MARK}"
    for other in os.listdir(folder):
        if other.startswith(begin):
            with suppress(OSError):
                os.unlink(other, dir_fd=folder)


@contextmanager
def _locked(folder: int) -> Generator[None]:
    while True:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            check_wanted()
            time.sleep(_PAUSE)
    try:
        yield
    finally:
        fcntl.flock(folder, fcntl.LOCK_UN)
