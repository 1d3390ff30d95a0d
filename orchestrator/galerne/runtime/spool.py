"""Paid results on their way to the bus.

A model's answer is written here, and synced to the disk, before it is published: if the process
dies while the bus is down, the next one on this host publishes it and nobody pays again.

    <folder>/<cluster>/<worker>.spool      one append-only file a process, locked while it lives
        {"id": …, "subject": …, "data": …}      one line a result
    all results confirmed ─▶ the file is emptied
    large, and never all confirmed ─▶ written anew with the lines that are open
    the process is gone (its lock is free) ─▶ others publish what is in it (`spools`)

Many results that arrive together share one fdatasync.
"""

import contextlib
import errno
import fcntl
import os
from pathlib import Path

import anyio
import anyio.to_thread
import msgspec

from galerne.faults import reach
from galerne.logs import get_logger
from galerne.runtime.spools import NEW, Spooled, decode, encode, held_in, is_at

log = get_logger("galerne.runtime.spool")

LAST_WRITE = 2.0
"""Seconds that a paid result has to reach the bus when the work that paid for it is stopped."""
REWRITE = 4_000_000
"""Bytes above which a file is written anew: one result that the bus never took keeps it from being
emptied for as long as its process lives."""


class _Batch:
    """Messages that share one sync; the first of them sees to it."""

    __slots__ = ("led", "synced")

    def __init__(self) -> None:
        self.led = False
        self.synced = anyio.Event()


class Spool:
    """One process's file. A disk that fails costs durability, never the work itself."""

    def __init__(self, folder: Path, worker: str) -> None:
        self._path = folder / f"{worker}.spool"
        self._file: int | None = None
        self._epoch: int = 0
        """Counts the files: what a thread says of an earlier one is of no interest."""
        self._broken = False
        self._rewriting = False
        self._limit = REWRITE
        self._open: set[str] = set()
        self._batch = _Batch()
        self._syncing = anyio.Lock()

    def open(self) -> None:
        """Make and lock the file."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            while True:
                self._file = os.open(self._path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if is_at(self._file, self._path):
                    return
                os.close(self._file)  # taken for a dead process's, and removed, before the lock
        except OSError as error:
            self._fail(error)

    def close(self) -> None:
        """Unlock; an empty file goes."""
        if self._file is None:
            return
        if not self._open:
            with contextlib.suppress(OSError):
                self._path.unlink()
        self._let_go(self._file)

    async def put(self, message: Spooled) -> None:
        """Return when the message is on the disk.

        The kernel has it before this first waits, which a kill of the process survives; the sync
        after that, for which many wait together, is for the machine.
        """
        self._open.add(message.id)
        self._append(encode(message) + b"\n")
        reach("spool.written")
        batch = self._batch
        if batch.led:
            await batch.synced.wait()
        else:
            await self._lead(batch)
        reach("spool.synced")

    async def _lead(self, batch: _Batch) -> None:
        """Sync what has been written until then; shielded, because others wait for it."""
        batch.led = True
        try:
            with anyio.CancelScope(shield=True):
                async with self._syncing:
                    self._batch = _Batch()
                    await self._sync()
                    batch.synced.set()
                    await self._shrink()
        finally:
            batch.synced.set()

    async def held_here(self, subject: str) -> list[Spooled]:
        """What the processes of this host hold, dead or alive, whose subject begins like this.

        For whoever takes work over: what is not in the log yet may be paid for all the same.
        """
        return await anyio.to_thread.run_sync(held_in, self._path.parent, subject)

    def confirm(self, message_id: str) -> None:
        """The bus has it. When it has everything, the file is emptied."""
        self._open.discard(message_id)
        self._empty()
        reach("spool.confirmed")

    def _empty(self) -> None:
        if not self._open and self._file is not None and not self._rewriting:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, 0)

    def _append(self, data: bytes) -> None:
        if self._file is None:
            self.open()  # the disk may have room again
        if self._file is None:
            return
        if self._broken:  # the last line may be torn: this one must not go down with it
            data = b"\n" + data
        try:
            _write(self._file, data)
        except OSError as error:
            self._fail(error)
        else:
            self._broken = False

    async def _sync(self) -> None:
        if self._file is None:
            return
        epoch = self._epoch
        try:
            # its own: the file may be closed meanwhile, and another get its number
            await anyio.to_thread.run_sync(_sync_and_close, os.dup(self._file))
        except OSError as error:
            if self._epoch == epoch:
                self._fail(error)

    async def _shrink(self) -> None:
        """Leave only the open lines of a large file. Under `_syncing`: nothing else is promised."""
        if self._file is None or (size := os.fstat(self._file).st_size) <= self._limit:
            return
        epoch, wanted, fresh = self._epoch, frozenset(self._open), -1
        new = self._path.with_name(self._path.name + NEW)
        self._rewriting = True  # no truncation: `size` must stay what it is
        try:
            fresh = await anyio.to_thread.run_sync(_rewrite, self._path, new, size, wanted)
            if self._epoch == epoch:
                # No await until the files have changed places: what was appended meanwhile comes
                # along, and no sync has been promised for it yet.
                _write(fresh, _tail(self._path, size))
                new.replace(self._path)
                fresh, self._file = self._file, fresh
                self._epoch += 1
                await anyio.to_thread.run_sync(_sync_folder, self._path.parent)
        except OSError as error:
            log.warning("the spool could not be made smaller", error=error.strerror)
        finally:
            self._rewriting = False
            if fresh >= 0:
                os.close(fresh)
            with contextlib.suppress(OSError):
                new.unlink()
            self._written_anew()

    def _written_anew(self) -> None:
        if self._file is not None:  # many that are open must not be copied with each result
            self._limit = max(REWRITE, 2 * os.fstat(self._file).st_size)
        self._empty()

    def _fail(self, error: OSError) -> None:
        """Go on without; said once, until a write succeeds again."""
        if not self._broken:
            log.error(
                "the spool cannot be written: a kill while the bus is down may repeat a model call",
                file=str(self._path),
                error=error.strerror,
            )
        self._broken = True
        if self._file is not None:
            self._let_go(self._file)

    def _let_go(self, file: int) -> None:
        """Unlock and close; a sync under way keeps its own descriptor, but not the lock."""
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_UN)
        os.close(file)
        self._file = None
        self._epoch += 1


# threads, and what they share with the loop


def _write(file: int, data: bytes) -> None:
    """All of it, or OSError."""
    if os.write(file, data) < len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _sync_and_close(file: int) -> None:
    try:
        os.fdatasync(file)
    finally:
        os.close(file)


def _rewrite(path: Path, new: Path, size: int, wanted: frozenset[str]) -> int:
    """A file under `new` with the wanted lines of the first `size` bytes: locked, synced, open."""
    file = os.open(new, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_APPEND, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with path.open("rb") as old:
            lines = old.read(size).split(b"\n")
        for line in lines:
            if _names(line, wanted):
                _write(file, line + b"\n")
        os.fdatasync(file)
    except BaseException:
        os.close(file)
        raise
    return file


def _names(line: bytes, wanted: frozenset[str]) -> bool:
    try:
        return decode(line).id in wanted
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False


def _tail(path: Path, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(size)
        return file.read()


def _sync_folder(folder: Path) -> None:
    """A rename counts only once its folder is on the disk."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
