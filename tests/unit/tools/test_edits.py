"""Files are written whole or not at all, inside the root or nowhere."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galerne.errors import ToolError
from galerne.settings import ToolSettings
from galerne.tools import AnyTool
from galerne_tools._root import Root
from galerne_tools._writing import MAX_FILE, rewrite
from galerne_tools.edits import EditTools, replaced, tools
from unit.tools.calls import refusal_of, value_of

pytestmark = pytest.mark.anyio


@pytest.fixture
def named(tmp_path: Path) -> dict[str, AnyTool]:
    settings = ToolSettings(root=str(tmp_path), write=True)
    return {made.spec.name: made for made in tools(settings)}


def names(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir())


def test_nothing_writes_unless_the_settings_say_so(
    tmp_path: Path, named: dict[str, AnyTool]
) -> None:
    assert tools(ToolSettings(root=str(tmp_path))) == []
    assert {name: made.spec.effect for name, made in named.items()} == {
        "write_file": "once",
        "edit_file": "once",
    }


async def test_a_file_is_written_with_its_folders(
    tmp_path: Path, named: dict[str, AnyTool]
) -> None:
    made = await value_of(named["write_file"], path="a/b/c.txt", content="ü\nb\n")
    assert made == {"path": "a/b/c.txt", "lines": 2, "bytes": 5, "created": True}
    assert (tmp_path / "a/b/c.txt").read_text() == "ü\nb\n"
    again = await refusal_of(named["write_file"], path="a/b/c.txt", content="x")
    assert "there already" in again.message
    over = await value_of(named["write_file"], path="a/b/c.txt", content="x", overwrite=True)
    assert over == {"path": "a/b/c.txt", "lines": 1, "bytes": 1, "created": False}
    assert names(tmp_path / "a/b") == ["c.txt"]


async def test_a_text_is_replaced_where_it_stands_once(
    tmp_path: Path, named: dict[str, AnyTool]
) -> None:
    (tmp_path / "a.py").write_text("one\ntwo\ntwo\n")
    (tmp_path / "a.py").chmod(0o750)
    edit = named["edit_file"]
    assert await value_of(edit, path="a.py", old="one\ntwo", new="1\n2") == {
        "path": "a.py",
        "replaced": 1,
        "line": 1,
    }
    assert (tmp_path / "a.py").read_text() == "1\n2\ntwo\n"
    assert (tmp_path / "a.py").stat().st_mode & 0o777 == 0o750
    (tmp_path / "a.py").write_text("one\ntwo\ntwo\n")
    assert "stands 2 times" in (await refusal_of(edit, path="a.py", old="two", new="")).message
    every = await value_of(edit, path="a.py", old="two\n", new="", every=True)
    assert (every["replaced"], every["line"]) == (2, 2)
    assert (tmp_path / "a.py").read_text() == "one\n"
    near = await refusal_of(edit, path="a.py", old="on e", new="x")
    assert "line 1 is 'one'" in near.message
    assert "write_file makes it" in (await refusal_of(edit, path="b", old="x", new="y")).message
    (tmp_path / "b").write_bytes(b"\xff")
    assert "not UTF-8" in (await refusal_of(edit, path="b", old="x", new="y")).message


@given(st.text(max_size=30), st.text(min_size=1, max_size=4), st.text(max_size=4))
def test_a_replacement_is_what_python_makes_of_it(text: str, old: str, new: str) -> None:
    if "\r\n" in text and old not in text:
        return
    try:
        changed, count, line = replaced(text, old, new, every=True)
    except ToolError:
        assert old not in text
        return
    assert changed == text.replace(old, new)
    assert count == text.count(old)
    assert text.split("\n")[:line][-1] or line >= 1


def test_line_breaks_stay_those_of_the_file() -> None:
    assert replaced("a\r\nb\r\nc", "a\nb", "1\n2", every=False)[0] == "1\r\n2\r\nc"


PLACES = {
    "..": "../outside/x",
    "absolute": "/tmp/x",
    "a link to a folder": "to/x",
    "a link to a file": "link",
    "a link to nothing": "dangling",
    "a folder": "folder",
    "the root": ".",
    "a FIFO": "fifo",
    "under a file": "file/x",
    "git": ".git/hooks/pre-commit",
    "git, by a link": "sub/config",
    "git in capitals": ".GIT/config",
    "the settings": "galerne.toml",
    "NUL": "a\0b",
    "too long": "x" * 250,
}
"""Where nothing may be written → its path."""


@pytest.mark.parametrize("place", PLACES)
async def test_nothing_is_written_elsewhere(tmp_path: Path, place: str) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    outside.mkdir()
    (outside / "x").write_text("old")
    (root / ".git/hooks").mkdir(parents=True)
    (root / ".git/config").write_text("old")
    (root / "folder").mkdir()
    (root / "file").write_text("old")
    os.mkfifo(root / "fifo")
    (root / "to").symlink_to(outside)
    (root / "link").symlink_to(outside / "x")
    (root / "dangling").symlink_to(outside / "new")
    (root / "sub").symlink_to(".git")
    path = PLACES[place]
    for made in tools(ToolSettings(root=str(root), write=True)):
        new = {"content": "new", "overwrite": True}
        arguments = new if made.spec.name == "write_file" else {"old": "old", "new": "new"}
        await refusal_of(made, path=path, **arguments)
    assert (outside / "x").read_text() == "old"
    assert names(outside) == ["x"]
    assert (root / ".git/config").read_text() == "old"
    assert names(root / ".git/hooks") == []
    assert not [name for name in names(root) if "galerne" in name]


def test_a_link_inside_the_root_leads_to_the_file_itself(tmp_path: Path) -> None:
    (tmp_path / "real.txt").write_text("old")
    (tmp_path / "link").symlink_to("real.txt")
    EditTools(Root(str(tmp_path))).edit_file("link", "old", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real.txt").read_text() == "new"


def test_a_folder_that_becomes_a_link_meanwhile_leads_nowhere(tmp_path: Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    outside.mkdir()
    (root / "a").mkdir(parents=True)
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            with suppress(OSError):
                (root / "a").rename(root / "b")
                (root / "a").symlink_to(outside)
                (root / "a").unlink()
                (root / "b").rename(root / "a")

    swapping = threading.Thread(target=swap)
    swapping.start()
    edits, written = EditTools(Root(str(root))), 0
    try:
        for number in range(400):
            with suppress(ToolError):
                edits.write_file(f"a/{number}", "inside")
                written += 1
    finally:
        stop.set()
        swapping.join()
    assert names(outside) == []
    assert written


def test_writers_at_once_lose_no_edit(tmp_path: Path) -> None:
    (tmp_path / "n").write_text("0")

    def count() -> None:
        root = Root(str(tmp_path))
        for _ in range(50):
            rewrite(root, "n", lambda before: str(int(before or b"0") + 1).encode())

    counting = [threading.Thread(target=count) for _ in range(4)]
    for one in counting:
        one.start()
    for one in counting:
        one.join()
    assert (tmp_path / "n").read_text() == "200"


KILLED = """
import os, signal, sys
from galerne_tools import _writing
from galerne_tools._root import Root
real = getattr(os, sys.argv[2])
def die(*args, **kwargs):
    if sys.argv[3] == "after":
        real(*args, **kwargs)
    os.kill(os.getpid(), signal.SIGKILL)
setattr(os, sys.argv[2], die)
_writing.rewrite(Root(sys.argv[1]), "a.txt", lambda before: b"new" * 100_000)
"""


@pytest.mark.parametrize("moment", ["fsync before", "fsync after", "rename before", "rename after"])
def test_a_writer_killed_at_any_moment_leaves_the_old_file_or_the_new(
    tmp_path: Path, moment: str
) -> None:
    (tmp_path / "a.txt").write_text("old")
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), *moment.split()], check=False, timeout=60
    )
    assert done.returncode == -signal.SIGKILL
    expected = "new" * 100_000 if moment == "rename after" else "old"
    assert (tmp_path / "a.txt").read_text() == expected
    EditTools(Root(str(tmp_path))).write_file("a.txt", "newer", overwrite=True)
    assert names(tmp_path) == ["a.txt"]


def failing(number: int) -> Callable[..., None]:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


def test_a_full_disk_is_one_line_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.txt").write_text("old")
    monkeypatch.setattr(os, "fsync", failing(28))
    with pytest.raises(ToolError, match=r"a\.txt cannot be written: No space left"):
        EditTools(Root(str(tmp_path))).write_file("a.txt", "new", overwrite=True)
    assert (tmp_path / "a.txt").read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_what_is_too_large_is_refused(tmp_path: Path) -> None:
    root = Root(str(tmp_path))
    with pytest.raises(ToolError, match="would be larger"):
        rewrite(root, "a", lambda _: b"x" * (MAX_FILE + 1))
    (tmp_path / "b").write_bytes(b"x" * (MAX_FILE + 1))
    with pytest.raises(ToolError, match="most that can be edited"):
        EditTools(root).edit_file("b", "x", "y")
