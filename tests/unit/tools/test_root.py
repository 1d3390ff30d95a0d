"""Nothing outside of the root is ever opened, whatever is asked for and whatever lies inside."""

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galerne.errors import ToolError
from galerne_tools._root import MAX_DEPTH, Root, check_wanted
from galerne_tools.files import FileTools
from galerne_tools.text import TextTools

SECRET = "outside, and never to be seen"


@pytest.fixture(scope="module")
def inside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with links of every kind, beside a folder that must stay unseen."""
    base = tmp_path_factory.mktemp("base")
    outside = base / "outside"
    root = base / "root"
    (outside / "sub").mkdir(parents=True)
    (outside / "secret").write_text(SECRET)
    (outside / "sub" / "secret").write_text(SECRET)
    (base / "root-too").mkdir()
    (base / "root-too" / "secret").write_text(SECRET)
    (root / "a" / "sub").mkdir(parents=True)
    (root / "a" / "file").write_text("inside")
    (root / "a" / "sub" / "secret").write_text("not this one: inside")
    (root / "a" / "up").symlink_to("..")
    (root / "file").symlink_to("a/file")
    (root / "to").symlink_to(outside)
    (root / "link").symlink_to("../outside/secret")
    (root / "twice").symlink_to("to/sub")
    (root / "sibling").symlink_to("../root-too")
    (root / "loop").symlink_to("loop")
    (root / "broken").symlink_to("nowhere")
    (root / "a" / "root").symlink_to(root)
    (root / "a" / "top").symlink_to("/")
    return root


WORDS = ["a", "up", "file", "to", "link", "twice", "sibling", "loop", "broken", "root", "top"]
PARTS = st.sampled_from([*WORDS, "sub", "secret", "outside", "root-too", "..", ".", "", "~"])
PATHS = (
    st.lists(PARTS, max_size=8).map("/".join)
    | st.text(max_size=20)
    | st.tuples(st.text(max_size=3), st.lists(PARTS, max_size=5)).map(
        lambda pair: "/".join((pair[0], *pair[1]))
    )
)


@given(PATHS)
def test_no_path_leads_out(inside: Path, path: str) -> None:
    files, text = FileTools(Root(str(inside))), TextTools(Root(str(inside)))
    asked: list[Callable[[], object]] = [
        lambda: files.read_file(path),
        lambda: files.list_files(path),
        lambda: files.search_files("outside", path),
        lambda: text.text_stats(path),
    ]
    for ask in asked:
        try:
            answer = repr(ask())
        except ToolError as error:
            answer = str(error)
            assert str(inside.parent) not in answer
        assert SECRET not in answer
        assert "Match(" not in answer
    with pytest.raises(ToolError):
        files.read_file(f"{inside}/{path}")


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("../outside/secret", "has '..' in it; give the path from the root folder"),
        ("a/../../outside/secret", "has '..' in it"),
        ("/etc/passwd", "'/etc/passwd' is absolute"),
        ("//etc/passwd", "is absolute"),
        ("to/secret", "to/secret leads out of the root folder"),
        ("to/no-such-thing", "to/no-such-thing leads out of the root folder"),
        ("link", "link leads out"),
        ("twice/secret", "twice/secret leads out"),
        ("sibling/secret", "sibling/secret leads out"),
        ("a/top/etc/passwd", "a/top/etc/passwd leads out"),
        ("a\0b", "cannot be a path"),
        ("\ud800", "cannot be a path"),
        ("x" * 5000, "cannot be a path"),
        ("x" * 300, "cannot be read: File name too long"),
        ("loop", "loop is not a regular file"),
        ("broken", "there is no broken"),
    ],
)
def test_escapes_are_refused_with_the_reason(inside: Path, path: str, said: str) -> None:
    with pytest.raises(ToolError) as caught:
        FileTools(Root(str(inside))).read_file(path)
    assert said in str(caught.value)


@pytest.mark.parametrize("path", ["a/file", "file", "a/up/file", "a/root/a/up/a/file", "./a//file"])
def test_links_that_stay_inside_are_followed_when_named(inside: Path, path: str) -> None:
    assert FileTools(Root(str(inside))).read_file(path) == "inside"


def test_links_are_not_followed_on_a_walk(inside: Path) -> None:
    files = FileTools(Root(str(inside)))
    assert files.list_files() == ["a/file", "a/sub/secret"]
    assert [match.path for match in files.search_files("inside")] == ["a/file", "a/sub/secret"]


def test_a_root_that_is_a_link_is_its_target(inside: Path, tmp_path: Path) -> None:
    (tmp_path / "alias").symlink_to(inside)
    assert FileTools(Root(str(tmp_path / "alias"))).read_file("file") == "inside"


@pytest.mark.parametrize("swapped", ["to/secret", "link", "twice/secret"])
def test_a_link_put_there_after_the_check_is_not_followed(
    inside: Path, monkeypatch: pytest.MonkeyPatch, swapped: str
) -> None:
    files = FileTools(Root(str(inside)))

    def as_if_no_link(path: str | os.PathLike[str]) -> str:
        return os.fspath(path)

    monkeypatch.setattr(os.path, "realpath", as_if_no_link)
    for ask in (files.read_file, files.list_files):
        with pytest.raises(ToolError) as caught:
            ask(swapped)
        assert SECRET not in str(caught.value)


@pytest.fixture
def specials(tmp_path: Path) -> Iterator[Path]:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "text").write_text("text")
    with socket.socket(socket.AF_UNIX) as bound:
        before = Path.cwd()
        os.chdir(tmp_path)  # a socket's path must be short
        try:
            bound.bind("sock")
        finally:
            os.chdir(before)
        yield tmp_path


def test_only_regular_files_are_opened(specials: Path) -> None:
    files = FileTools(Root(str(specials)))
    assert files.list_files() == ["text"]
    assert [match.path for match in files.search_files("text")] == ["text"]
    for name in ("pipe", "sock"):
        for ask in (files.read_file, files.list_files):
            with pytest.raises(ToolError) as caught:
                ask(name)
            assert str(caught.value) == f"{name} is not a regular file, so it is not read"


def test_a_device_is_not_opened() -> None:
    with pytest.raises(ToolError) as caught:
        FileTools(Root("/dev")).read_file("null")
    assert "null is not a regular file" in str(caught.value)


def test_a_file_swapped_for_a_pipe_while_it_is_opened_is_refused(
    specials: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = (specials / "text").stat()
    files = FileTools(Root(str(specials)))

    def stale(*_: object, **__: object) -> os.stat_result:
        return real

    monkeypatch.setattr(os, "stat", stale)
    with pytest.raises(ToolError) as caught:
        files.read_file("pipe")
    assert "not a regular file" in str(caught.value)


def test_names_that_are_not_utf_8_are_shown(tmp_path: Path) -> None:
    with suppress(OSError):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")).write_text("x")
    if not list(tmp_path.iterdir()):
        pytest.skip("this file system takes UTF-8 names only")
    assert FileTools(Root(str(tmp_path))).list_files() == ["caf\ufffd"]


def test_very_deep_folders_end_somewhere(tmp_path: Path) -> None:
    deep = tmp_path
    for _ in range(MAX_DEPTH + 2):
        deep /= "d"
        deep.mkdir()
        (deep / "f").touch()
    assert len(FileTools(Root(str(tmp_path))).list_files()) == MAX_DEPTH


def test_no_descriptor_stays_open(inside: Path) -> None:
    before = len(list(Path("/dev/fd").iterdir()))
    files = FileTools(Root(str(inside)))
    for path in (".", "a", "a/file", "to", "loop", "nothing", "a/file/x"):
        with suppress(ToolError):
            files.read_file(path)
        with suppress(ToolError):
            files.list_files(path)
        with suppress(ToolError):
            files.search_files("inside", path, max_matches=1)
    assert len(list(Path("/dev/fd").iterdir())) == before


@pytest.mark.anyio
async def test_a_thread_learns_that_its_call_was_given_up() -> None:
    begun = anyio.Event()

    def work() -> None:
        anyio.from_thread.run_sync(begun.set)
        while True:
            check_wanted()

    async with anyio.create_task_group() as group:
        group.start_soon(anyio.to_thread.run_sync, work)
        await begun.wait()
        group.cancel_scope.cancel()
    check_wanted()  # outside of a call it does nothing


def test_the_content_of_a_file_in_the_place_of_its_path_is_not_repeated(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    text = "# A title\n\nA long first line of the file.\n" * 20
    with pytest.raises(ToolError) as caught, Root(str(tmp_path)).open(text):
        pass
    said = str(caught.value)
    assert said.startswith("'# A title A long first line of the file.")
    assert f"({len(text)} characters, and no path of a file)" in said
    assert "\n" not in said
    assert len(said) < 300
