"""The one folder of the file tools, and how nothing outside it is ever opened.

A path from a model is cut into parts; an absolute path, `..` and NUL are refused. The rest is
resolved, links included, and must lie inside the root. Then the *resolved* path is opened one
part at a time from the root's descriptor, without following any link: a folder that is swapped
for a link between the check and the opening makes the opening fail. Only regular files are
opened, without blocking, so that a FIFO or a device cannot hold a thread.

Everything here blocks; the tools run it in threads. Long loops call `check_wanted`, which ends
the thread's work once the call was cancelled or its time was up.
"""

import difflib
import os
import stat
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath, PurePosixPath
from typing import BinaryIO, NamedTuple

from anyio import NoEventLoopError, from_thread

from galerne.core.one_line import one_line
from galerne.errors import InvalidSettingsError, ToolError

MAX_DEPTH = 64
"""Folders inside folders that a walk descends: one open descriptor each."""

_SKIPPED = frozenset({"node_modules", "__pycache__"})
_HEAD = 8192
_NAMED = 120
"""Characters of a path that an error repeats."""
_MAX_PATH = 4096
_NEAR_NAMES = 2000
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC

Parts = tuple[str, ...]


class Found(NamedTuple):
    """A regular file met on a walk: good until the walk goes on.

    `path` leads from the root, `inside` from where the walk began; both with `/`.
    """

    path: str
    inside: str
    name: str
    folder: int

    def open(self) -> BinaryIO:
        """For reading bytes. Raises OSError, and ToolError if it is no regular file any more."""
        return _open_regular(self.name, self.folder, self.path)


class Root:
    """A folder on this host. Every method raises ToolError, one line for the model."""

    def __init__(self, folder: str) -> None:
        """Raises InvalidSettingsError if there is no such folder."""
        self._folder = os.path.realpath(folder)
        if not Path(self._folder).is_dir():
            raise InvalidSettingsError(f"tools.root: there is no folder {folder!r}")

    @contextmanager
    def open(self, path: str) -> Generator[BinaryIO]:
        """A regular file, for reading bytes; trouble while reading it is a ToolError too."""
        parts = _split(path)
        with self._explained(parts):
            *above, name = self._resolve(parts) or (".",)
            folder = self._open_folder(tuple(above))
            try:
                file = _open_regular(name, folder, _named(parts))
            finally:
                os.close(folder)
            with file:
                yield file

    @contextmanager
    def place(self, path: str, kept: frozenset[str]) -> Generator[tuple[int, str]]:
        """A descriptor of the folder in which a file is to be written, and its name there.

        Missing folders are made; nothing is that is named in `kept` (in lower case), or lies in
        such a folder. Trouble in the body is a ToolError too.
        """
        parts = _split(path)
        with self._explained(parts, "written"):
            *above, name = resolved = self._resolve(parts) or (".",)
            if kept.intersection(part.lower() for part in resolved):
                raise ToolError(f"{_named(parts)} may not be written: it is kept as it is")
            if name == "." or path.endswith("/"):
                raise ToolError(f"{_named(parts)} is a folder; give the path of a file")
            folder = self._open_folder(tuple(above), make=True)
            try:
                yield folder, name
            finally:
                os.close(folder)

    def walk(self, path: str, named: frozenset[str] = frozenset()) -> Iterator[Found]:
        """Every regular file under `path` (or that file itself), in the order of the path's parts.

        Links are not followed. Hidden folders, `node_modules` and `__pycache__` are left out
        unless `path` leads there or `named` holds their name; what cannot be read is left out.
        """
        parts = _split(path)
        with self._explained(parts):
            resolved = self._resolve(parts)
            try:
                folder = self._open_folder(resolved)
            except NotADirectoryError:
                yield from self._itself(resolved, parts)
                return
            try:
                yield from _walk(folder, _prefix(parts), "", named)
            finally:
                os.close(folder)

    def folders(self, path: str) -> list[str]:
        """The names of the folders directly in `path`, sorted, but those that a walk skips."""
        parts = _split(path)
        with self._explained(parts):
            folder = self._open_folder(self._resolve(parts))
            try:
                with os.scandir(folder) as entries:
                    names = [e.name for e in entries if e.is_dir(follow_symlinks=False)]
            finally:
                os.close(folder)
        return sorted(clean(name) for name in names if not _is_skipped(name, frozenset()))

    def _itself(self, resolved: Parts, parts: Parts) -> Iterator[Found]:
        folder = self._open_folder(resolved[:-1])
        try:
            shown = _shown(parts)
            _open_regular(resolved[-1], folder, shown).close()
            yield Found(shown, clean(parts[-1]), resolved[-1], folder)
        finally:
            os.close(folder)

    def _resolve(self, parts: Parts) -> Parts:
        """Where the parts lead once every link is followed; always inside the root."""
        try:
            real = os.path.realpath(Path(self._folder, *parts))
            return PurePath(real).relative_to(self._folder).parts
        except ValueError as error:
            raise ToolError(f"{_named(parts)} leads out of the root folder") from error

    def _open_folder(self, parts: Parts, *, make: bool = False) -> int:
        """A descriptor of the folder, reached without following any link."""
        folder = os.open(self._folder, _FOLDER)
        for part in parts:
            try:
                if make:
                    with suppress(FileExistsError):
                        os.mkdir(part, dir_fd=folder)
                inner = os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)
            finally:
                os.close(folder)
            folder = inner
        return folder

    @contextmanager
    def _explained(self, parts: Parts, what: str = "read") -> Generator[None]:
        """The one place that maps the system's errors to ours; `what` is not to be had."""
        try:
            yield
        except (FileNotFoundError, NotADirectoryError) as error:
            raise ToolError(self._missing(parts)) from error
        except PermissionError as error:
            raise ToolError(f"{_named(parts)} may not be {what}: permission denied") from error
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise ToolError(f"{_named(parts)} cannot be {what}: {reason}") from error

    def _missing(self, parts: Parts) -> str:
        """What exists nearby: like-named things in the deepest folder of the path that exists."""
        for depth in range(len(parts) - 1, -1, -1):
            with suppress(OSError):
                folder = self._open_folder(self._resolve(parts[:depth]))
                try:
                    names = sorted(os.listdir(folder))  # noqa: PTH208  a descriptor, no path
                finally:
                    os.close(folder)
                place = _prefix(parts[:depth])
                near = [clean(f"{place}{name}") for name in _nearest(parts[depth], names)]
                hint = f"; there is {', '.join(near)}" if near else "; that folder is empty"
                return f"there is no {_named(parts)}{hint}"
        return f"there is no {_named(parts)}"


def check_wanted() -> None:
    """Stop here if the call that this thread works for was given up. Free outside of a call."""
    with suppress(NoEventLoopError):
        from_thread.check_cancelled()


def is_binary(file: BinaryIO) -> bool:
    """Whether the first 8 kB hold a NUL, as git decides; the file is rewound."""
    head = file.read(_HEAD)
    file.seek(0)
    return b"\0" in head


def clean(name: str) -> str:
    """A name that can be printed and sent: bytes that are not UTF-8 show as U+FFFD."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _split(path: str) -> Parts:
    shown = path[:200].encode("utf-8", "replace").decode()
    if path.startswith("/"):
        raise ToolError(f"{shown!r} is absolute; give the path from the root folder, such as 'a/b'")
    parts = PurePosixPath(path).parts
    if ".." in parts:
        raise ToolError(f"{shown!r} has '..' in it; give the path from the root folder")
    if not _is_possible(path):
        raise ToolError(f"{shown!r} cannot be a path: it is too long or has impossible characters")
    return parts


def _is_possible(path: str) -> bool:
    try:
        return len(path) <= _MAX_PATH and b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        return False


def _shown(parts: Parts) -> str:
    return clean("/".join(parts)) or "."


def _named(parts: Parts) -> str:
    """For an error: models give the content of a file for its path, and nobody wants to read it."""
    path = _shown(parts)
    short = one_line(path, _NAMED)
    return path if short == path else f"{short!r} ({len(path)} characters, and no path of a file)"


def _prefix(parts: Parts) -> str:
    return "".join(f"{part}/" for part in parts)


def _nearest(wanted: str, names: list[str]) -> list[str]:
    by_lower = {name.lower(): name for name in names[:_NEAR_NAMES]}
    near = difflib.get_close_matches(wanted.lower(), by_lower, n=3, cutoff=0.5)
    return [by_lower[name] for name in near] or names[:10]


def _is_skipped(name: str, named: frozenset[str]) -> bool:
    return (name.startswith(".") or name in _SKIPPED) and name not in named


def _open_regular(name: str, folder: int, shown: str) -> BinaryIO:
    """Looked at before and after opening: opening a device can already do something."""
    _check_regular(os.stat(name, dir_fd=folder, follow_symlinks=False), shown)
    descriptor = os.open(name, _FILE, dir_fd=folder)
    try:
        _check_regular(os.fstat(descriptor), shown)
    except ToolError:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "rb")


def _check_regular(info: os.stat_result, shown: str) -> None:
    if stat.S_ISDIR(info.st_mode):
        raise ToolError(f"{shown} is a folder; list_files lists it")
    if not stat.S_ISREG(info.st_mode):
        raise ToolError(f"{shown} is not a regular file, so it is not read")


def _walk(
    folder: int, prefix: str, inside: str, named: frozenset[str], depth: int = 0
) -> Iterator[Found]:
    for name in sorted(os.listdir(folder)):
        check_wanted()
        with suppress(OSError):
            mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
            if stat.S_ISREG(mode):
                yield Found(clean(prefix + name), clean(inside + name), name, folder)
            elif stat.S_ISDIR(mode) and depth < MAX_DEPTH and not _is_skipped(name, named):
                inner = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)
                try:
                    yield from _walk(
                        inner, f"{prefix}{name}/", f"{inside}{name}/", named, depth + 1
                    )
                finally:
                    os.close(inner)
