"""The spool: what it took before it returned is there for the next process, whatever happens."""

# A process dies by closing its file, which is its own.
# pyright: reportPrivateUsage=false

import errno
import fcntl
import os
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest
from structlog.testing import capture_logs

from galerne.runtime import spool as spool_module
from galerne.runtime.spool import Spool
from galerne.runtime.spools import Spooled, read_spool, replay, spool_folder

pytestmark = pytest.mark.anyio


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def message(n: int, data: bytes = b"\xff\x00data\n") -> Spooled:
    return Spooled(f"id-{n}", f"a.subject.{n}", data)


async def replayed(folder: Path) -> list[Spooled]:
    found: list[Spooled] = []

    async def publish(one: Spooled) -> None:
        found.append(one)

    assert await replay(folder, publish) == len(found)
    return found


@contextmanager
def opened(folder: Path, worker: str = "a") -> Generator[Spool]:
    spool = Spool(folder, worker)
    spool.open()
    try:
        yield spool
    finally:
        spool.close()


def die(spool: Spool) -> None:
    """As the kernel does it: the file is closed, its lock is free, nothing else happens."""
    assert spool._file is not None
    os.close(spool._file)
    spool._file = None


async def test_what_was_not_confirmed_is_replayed_in_order(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "a")
    spool.open()
    for n in range(3):
        await spool.put(message(n))
    spool.confirm("id-1")
    die(spool)
    assert await replayed(tmp_path) == [message(0), message(1), message(2)]
    assert not names_in(tmp_path)
    assert await replayed(tmp_path) == []


async def test_a_confirmed_file_is_emptied_and_removed(tmp_path: Path) -> None:
    with opened(tmp_path) as spool:
        for n in range(3):
            await spool.put(message(n))
        for n in range(3):
            spool.confirm(f"id-{n}")
        assert (tmp_path / "a.spool").stat().st_size == 0
        await spool.put(message(9))
        spool.confirm("id-9")
    assert not names_in(tmp_path)


async def test_a_clean_end_leaves_what_is_open(tmp_path: Path) -> None:
    with opened(tmp_path) as spool:
        await spool.put(message(1))
    assert await replayed(tmp_path) == [message(1)]


async def test_many_at_once_share_a_sync_and_all_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    real = os.fdatasync

    def count(file: int) -> None:
        synced.append(file)
        real(file)

    monkeypatch.setattr("os.fdatasync", count)
    with opened(tmp_path) as spool:
        async with anyio.create_task_group() as tasks:
            for n in range(100):
                tasks.start_soon(spool.put, message(n))
        assert 1 <= len(synced) <= 3
        assert list(read_spool(tmp_path / "a.spool")) == [message(n) for n in range(100)]


async def test_put_returns_only_after_a_sync_that_began_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, finish = threading.Event(), threading.Event()
    syncs: list[int] = []

    def sync(file: int) -> None:
        syncs.append(os.fstat(file).st_size)
        begun.set()
        finish.wait(20)

    monkeypatch.setattr("os.fdatasync", sync)
    with opened(tmp_path) as spool:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(spool.put, message(1))
            await anyio.to_thread.run_sync(begun.wait, 20)
            tasks.start_soon(spool.put, message(2))
            await anyio.lowlevel.checkpoint()
            finish.set()
        size = (tmp_path / "a.spool").stat().st_size
        assert syncs[0] < size
        assert syncs[-1] == size


async def test_the_kernel_has_it_before_anything_waits(tmp_path: Path) -> None:
    with opened(tmp_path) as spool:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await spool.put(message(1))
        assert list(read_spool(tmp_path / "a.spool")) == [message(1)]


async def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "a")
    spool.open()
    await spool.put(message(1))
    await spool.put(message(2))
    die(spool)
    path = tmp_path / "a.spool"
    whole = path.read_bytes()
    for cut in range(len(whole) - 2, len(whole) // 2, -7):
        path.write_bytes(whole[:cut])
        assert list(read_spool(path)) == [message(1)]
    path.write_bytes(whole[:40])
    assert await replayed(tmp_path) == []
    assert not path.exists()


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xfe\n", b"[]\n{}\nnull\n", b"[" * 100_000, b'{"id":1,"subject":2}\n']
)
async def test_garbage_in_a_file_stops_nobody(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.spool").write_bytes(data)
    assert await replayed(tmp_path) == []
    assert not names_in(tmp_path)


async def test_a_living_process_keeps_its_file(tmp_path: Path) -> None:
    with opened(tmp_path) as living:
        await living.put(message(1))
        dead = Spool(tmp_path, "dead")
        dead.open()
        await dead.put(message(2))
        die(dead)
        assert await replayed(tmp_path) == [message(2)]
        assert (tmp_path / "a.spool").exists()
        await living.put(message(3))
    assert await replayed(tmp_path) == [message(1), message(3)]


async def test_a_replay_that_is_stopped_goes_on_later(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "a")
    spool.open()
    await spool.put(message(1))
    die(spool)

    async def away(_: Spooled) -> None:
        await anyio.sleep_forever()

    with anyio.move_on_after(0.05):
        await replay(tmp_path, away)
    assert await replayed(tmp_path) == [message(1)]


async def test_two_that_start_at_once_replay_a_file_once(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "a")
    spool.open()
    await spool.put(message(1))
    die(spool)
    found: list[Spooled] = []

    async def publish(one: Spooled) -> None:
        await anyio.sleep(0.01)
        found.append(one)

    async with anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(replay, tmp_path, publish)
    assert found == [message(1)]


async def test_a_file_removed_before_it_was_locked_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process may take a file without a lock for a dead process's."""
    real = fcntl.flock
    taken: list[int] = []

    def slowly(file: int, how: int) -> None:
        if not taken:
            taken.append(file)
            (tmp_path / "a.spool").unlink()
        real(file, how)

    monkeypatch.setattr("fcntl.flock", slowly)
    with opened(tmp_path) as spool:
        await spool.put(message(1))
        assert list(read_spool(tmp_path / "a.spool")) == [message(1)]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS])
async def test_a_full_disk_costs_one_error_line_and_no_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(_file: int, _data: bytes) -> int:
        raise OSError(number, os.strerror(number))

    with opened(tmp_path) as spool, monkeypatch.context() as patch, capture_logs() as logs:
        patch.setattr("os.write", refuse)
        for n in range(5):
            await spool.put(message(n))
            spool.confirm(f"id-{n}")
    errors = [line for line in logs if line["log_level"] == "error"]
    assert len(errors) == 1
    assert errors[0]["error"] == os.strerror(number)


async def test_a_disk_with_room_again_is_used_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The write that failed may have left half a line, which must not spoil the next."""
    real = os.write

    def half(file: int, data: bytes) -> int:
        return real(file, data[: len(data) // 2])

    spool = Spool(tmp_path, "a")
    spool.open()
    await spool.put(message(1))
    with monkeypatch.context() as patch:
        patch.setattr("os.write", half)
        await spool.put(message(2))
    await spool.put(message(3))
    await spool.put(message(4))
    die(spool)
    assert await replayed(tmp_path) == [message(1), message(3), message(4)]


async def test_a_sync_that_fails_costs_one_error_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_file: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with opened(tmp_path) as spool, capture_logs() as logs:
        with monkeypatch.context() as patch:
            patch.setattr("os.fdatasync", refuse)
            await spool.put(message(1))
        await spool.put(message(2))
        assert message(2) in list(read_spool(tmp_path / "a.spool"))
    assert [line["log_level"] for line in logs] == ["error"]


async def test_a_sync_that_fails_late_leaves_the_next_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it was under way, a write failed too, and the file was opened anew."""
    begun, finish = threading.Event(), threading.Event()

    def refuse(_file: int) -> None:
        begun.set()
        finish.wait(20)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    def full(_file: int, _data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    new: int | None = None
    with opened(tmp_path) as spool, capture_logs() as logs:
        async with anyio.create_task_group() as tasks:
            with monkeypatch.context() as patch:
                patch.setattr("os.fdatasync", refuse)
                tasks.start_soon(spool.put, message(1))
                await anyio.to_thread.run_sync(begun.wait, 20)
            with monkeypatch.context() as patch:
                patch.setattr("os.write", full)
                tasks.start_soon(spool.put, message(2))
                await anyio.wait_all_tasks_blocked()
            tasks.start_soon(spool.put, message(3))
            await anyio.wait_all_tasks_blocked()
            new = spool._file
            finish.set()
        assert new is not None
        assert spool._file == new
        os.fstat(new)
    assert len([line for line in logs if line["log_level"] == "error"]) == 1


async def test_a_folder_that_cannot_be_made_costs_one_error_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with capture_logs() as logs, opened(tmp_path / "file" / "below") as spool:
        await spool.put(message(1))
        spool.confirm("id-1")
    assert [line["log_level"] for line in logs] == ["error"]


async def test_no_folder_is_nothing_to_replay(tmp_path: Path) -> None:
    assert await replayed(tmp_path / "none") == []


def test_each_cluster_has_its_own_folder(tmp_path: Path) -> None:
    assert spool_folder(str(tmp_path), "c1") == tmp_path / "c1"
    assert spool_folder(None, "c1").is_absolute()


# written anew


BIG = b"y" * 1000


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file above 20 kB is written anew."""
    monkeypatch.setattr(spool_module, "REWRITE", 20_000)


@pytest.mark.usefixtures("small")
async def test_one_that_is_never_confirmed_does_not_make_the_file_grow_for_ever(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.spool"
    with opened(tmp_path) as spool:
        await spool.put(message(1))
        for n in range(100, 400):
            await spool.put(message(n, BIG))
            spool.confirm(f"id-{n}")
            assert path.stat().st_size < 25_000
        await spool.put(message(2))
        assert [one for one in read_spool(path) if one.data != BIG] == [message(1), message(2)]
        assert names_in(tmp_path) == ["a.spool"]
        assert await replayed(tmp_path) == []  # it is locked, as before
    assert {message(1), message(2)} <= set(await replayed(tmp_path))


@pytest.fixture
def slowly(monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """Set when a file begins to be written anew; and to be set, so that it goes on."""
    begun, finish = threading.Event(), threading.Event()
    real = spool_module._rewrite

    def rewrite(path: Path, new: Path, size: int, wanted: frozenset[str]) -> int:
        begun.set()
        finish.wait(20)
        return real(path, new, size, wanted)

    monkeypatch.setattr(spool_module, "_rewrite", rewrite)
    return begun, finish


@pytest.mark.usefixtures("small")
async def test_what_is_written_meanwhile_comes_along(
    tmp_path: Path, slowly: tuple[threading.Event, threading.Event]
) -> None:
    begun, finish = slowly
    with opened(tmp_path) as spool:
        async with anyio.create_task_group() as tasks:
            await spool.put(message(1))
            tasks.start_soon(spool.put, message(2, BIG * 30))
            await anyio.to_thread.run_sync(begun.wait, 20)
            spool.confirm("id-2")
            for n in (3, 4):
                tasks.start_soon(spool.put, message(n))
            await anyio.wait_all_tasks_blocked()
            spool.confirm("id-4")
            finish.set()
        lines = list(read_spool(tmp_path / "a.spool"))
        assert [one.id for one in lines] == ["id-1", "id-2", "id-3", "id-4"]
        await spool.put(message(5, BIG * 60))  # that was too late for the second
        assert [one.id for one in read_spool(tmp_path / "a.spool")] == ["id-1", "id-3", "id-5"]


@pytest.mark.usefixtures("small")
async def test_what_is_written_after_all_was_confirmed_meanwhile_comes_along(
    tmp_path: Path, slowly: tuple[threading.Event, threading.Event]
) -> None:
    begun, finish = slowly
    with opened(tmp_path) as spool:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(spool.put, message(1, BIG * 30))
            await anyio.to_thread.run_sync(begun.wait, 20)
            spool.confirm("id-1")
            tasks.start_soon(spool.put, message(2))
            await anyio.wait_all_tasks_blocked()
            finish.set()
        assert message(2) in list(read_spool(tmp_path / "a.spool"))
        spool.confirm("id-2")
        assert (tmp_path / "a.spool").stat().st_size == 0


@pytest.mark.usefixtures("small")
async def test_what_is_all_confirmed_meanwhile_leaves_an_empty_file(
    tmp_path: Path, slowly: tuple[threading.Event, threading.Event]
) -> None:
    begun, finish = slowly
    with opened(tmp_path) as spool:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(spool.put, message(1, BIG * 30))
            await anyio.to_thread.run_sync(begun.wait, 20)
            spool.confirm("id-1")
            finish.set()
        assert (tmp_path / "a.spool").stat().st_size == 0
        await spool.put(message(2))
        assert list(read_spool(tmp_path / "a.spool")) == [message(2)]


@pytest.mark.usefixtures("small")
async def test_a_file_that_was_lost_meanwhile_is_not_replaced(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    slowly: tuple[threading.Event, threading.Event],
) -> None:
    """A write failed, another process took the file for a dead one's, and it was opened anew."""
    begun, finish = slowly

    def full(_file: int, _data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with opened(tmp_path) as spool:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(spool.put, message(1, BIG * 30))
            await anyio.to_thread.run_sync(begun.wait, 20)
            with monkeypatch.context() as patch:
                patch.setattr("os.write", full)
                tasks.start_soon(spool.put, message(2))
                await anyio.wait_all_tasks_blocked()
            assert await replayed(tmp_path) == [message(1, BIG * 30)]
            tasks.start_soon(spool.put, message(3))
            await anyio.wait_all_tasks_blocked()
            finish.set()
        assert list(read_spool(tmp_path / "a.spool")) == [message(3)]
        assert names_in(tmp_path) == ["a.spool"]


@pytest.mark.usefixtures("small")
async def test_many_that_are_open_are_not_copied_with_each_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, copied = spool_module._rewrite, 0

    def count(path: Path, new: Path, size: int, wanted: frozenset[str]) -> int:
        nonlocal copied
        copied += size
        return real(path, new, size, wanted)

    monkeypatch.setattr(spool_module, "_rewrite", count)
    with opened(tmp_path) as spool:
        for n in range(400):
            await spool.put(message(n, BIG))
        assert [one.id for one in read_spool(tmp_path / "a.spool")] == [
            f"id-{n}" for n in range(400)
        ]
        assert 0 < copied < 2 * (tmp_path / "a.spool").stat().st_size


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", ["_rewrite", "_tail", "_sync_folder"])
async def test_a_file_that_cannot_be_written_anew_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with opened(tmp_path) as spool, capture_logs() as logs:
        await spool.put(message(1))
        with monkeypatch.context() as patch:
            patch.setattr(spool_module, name, refuse)
            await spool.put(message(2, BIG * 30))
        await spool.put(message(3))
        assert names_in(tmp_path) == ["a.spool"]
    assert [line["log_level"] for line in logs] == ["warning"]
    found = await replayed(tmp_path)
    assert found == [message(1), message(2, BIG * 30), message(3)]


KILLED = """
import os, sys
from pathlib import Path

import anyio

from galerne.runtime import spool
from galerne.runtime.spool import Spool
from galerne.runtime.spools import Spooled

folder, owner, name, moment = Path(sys.argv[1]), *sys.argv[2:]
spool.REWRITE = 20_000


def deadly(real):
    def call(*arguments, **options):
        if sys.argv[0] == "armed" and moment == "before":
            os.kill(os.getpid(), 9)
        result = real(*arguments, **options)
        if sys.argv[0] == "armed":
            os.kill(os.getpid(), 9)
        return result

    return call


async def main():
    one = Spool(folder, "a")
    one.open()
    await one.put(Spooled("id-1", "a.subject.1", b"kept"))
    home = {"os": os, "spool": spool, "Path": Path, "fcntl": spool.fcntl}[owner]
    setattr(home, name, deadly(getattr(home, name)))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one.put, Spooled("id-2", "a.subject.2", b"y" * 30_000))
        await anyio.lowlevel.checkpoint()
        one.confirm("id-2")
        rewrite = spool._rewrite

        def armed(*arguments):
            sys.argv[0] = "armed"
            return rewrite(*arguments)

        spool._rewrite = armed
        tasks.start_soon(one.put, Spooled("id-3", "a.subject.3", b"too"))
    print("survived")


anyio.run(main)
"""


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize(
    "call",
    [
        ("os", "open"),
        ("fcntl", "flock"),
        ("os", "write"),
        ("os", "fdatasync"),
        ("spool", "_tail"),
        ("Path", "replace"),
        ("spool", "_sync_folder"),
    ],
)
async def test_a_kill_while_the_file_is_written_anew_loses_nothing(
    tmp_path: Path, call: tuple[str, str], moment: str
) -> None:
    killed = await anyio.run_process(
        [sys.executable, "-c", KILLED, str(tmp_path), *call, moment], check=False
    )
    assert (killed.returncode, killed.stdout) == (-9, b""), killed.stderr.decode()
    found = await replayed(tmp_path)
    assert {"id-1", "id-3"} <= {one.id for one in found}
    assert not names_in(tmp_path)


async def test_what_a_dead_process_was_writing_anew_is_removed(tmp_path: Path) -> None:
    (tmp_path / "dead.spool.new").write_bytes(b"half")
    living = tmp_path / "living.spool.new"
    with living.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert await replayed(tmp_path) == []
        assert names_in(tmp_path) == [living.name]
