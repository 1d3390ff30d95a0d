"""What a sandbox shows and how it is made: from data about this host to a command line.

The code sees the system's programs and libraries, the interpreter's folders, and the tools' root
folder as `/files`, all read-only; four devices; its own processes; and one folder that it may write
to. Everything else of the host is not there. Nothing here touches the system: `backends` looks.
"""

from pathlib import PurePath

import msgspec

from galerne.errors import InvalidSettingsError

FILES = "/files"
"""Where the tools' root folder lies inside."""
NOBODY = 65534
"""The user that a worker of root runs code as: the kernel lets root start processes without end."""

SYSTEM_FOLDERS = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
SYSTEM_EXTRAS = ("/etc/ld.so.cache", "/etc/alternatives")

_DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
_LINKS = (
    ("/scratch", "/tmp"),  # noqa: S108 - a link inside, for code that insists on it
    ("/scratch", "/dev/shm"),  # noqa: S108 - where semaphores of `multiprocessing` lie
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
)
_FOLDERS = ("/dev", "/proc", "/scratch", "/code", "/etc")
_PACKAGE = "galerne_tools/python/inside"
_START = (
    "import sys; sys.path.append(sys.argv.pop(1)); "
    "from galerne_tools.python.inside.main import main; main()"
)

Pairs = tuple[tuple[str, str], ...]


class Interpreter(msgspec.Struct, frozen=True):
    """A Python: its executable, and the folders that it needs."""

    path: str
    folders: tuple[str, ...]


class Host(msgspec.Struct, frozen=True):
    """What of this host matters: `shown` exists, `links` are `(leads to, path)`."""

    shown: tuple[str, ...]
    links: Pairs
    is_root: bool


class View(msgspec.Struct, frozen=True):
    """A file system: `shown` as `(path on the host, path inside)`, read-only."""

    shown: Pairs
    links: Pairs
    devices: tuple[str, ...] = _DEVICES
    folders: tuple[str, ...] = _FOLDERS


def view_of(host: Host, interpreter: Interpreter, root: str, package: str) -> View:
    """What the sandbox shows. `root` and `package`, the folder of `inside`, are absolute.

    Raises InvalidSettingsError for a folder that would show everything.
    """
    if root == "/":
        raise InvalidSettingsError("tools.root is /: code may read all of it, so give a folder")
    shown: list[str] = []
    for folder in (*host.shown, *sorted(interpreter.folders, key=len)):
        if folder == "/":
            raise InvalidSettingsError(
                f"tools.python.interpreter: {interpreter.path} lies in / itself; give one that has "
                "a folder of its own"
            )
        if not any(PurePath(folder).is_relative_to(other) for other in shown):
            shown.append(folder)
    pairs = (*((path, path) for path in shown), (root, FILES), (package, f"/sandbox/{_PACKAGE}"))
    links = [
        (leads_to, path)
        for leads_to, path in _LINKS
        if not any(PurePath(target).is_relative_to(path) for _, target in pairs)
    ]
    return View(shown=pairs, links=(*host.links, *links))


def bubblewrap_command(
    program: str, view: View, interpreter: Interpreter, *, root: bool
) -> list[str]:
    """The command line with `bwrap`; for root without a user namespace, as `inside` makes one."""
    argv = [program, "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"]
    argv += ["--unshare-cgroup-try", "--hostname", "sandbox", "--as-pid-1", "--die-with-parent"]
    argv += ["--new-session", "--clearenv", "--cap-drop", "ALL"]
    if root:
        for capability in ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP"):
            argv += ["--cap-add", capability]
    else:
        argv += ["--unshare-user", "--uid", "1000", "--gid", "1000"]
    argv += ["--tmpfs", "/dev"]
    for folder in (*view.folders, *_above(view.shown)):
        argv += ["--dir", folder]
    for source, target in view.shown:
        argv += ["--ro-bind", source, target]
    for device in view.devices:
        argv += ["--dev-bind", device, device]
    for leads_to, path in view.links:
        argv += ["--symlink", leads_to, path]
    argv += ["--proc", "/proc", "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/", "--"]
    return [*argv, *_start(interpreter, "/sandbox")]


def _above(shown: Pairs) -> list[str]:
    """Folders on the way to what is shown, which bubblewrap would make for its own user alone."""
    above = {str(parent) for _, target in shown for parent in PurePath(target).parents}
    return sorted(above - {"/"})


def unshare_command(
    program: str, view: View, interpreter: Interpreter, package: str, *, root: bool
) -> list[str]:
    """The command line with `unshare`; `inside` then makes the view by itself."""
    argv = [program, "--mount", "--pid", "--fork", "--kill-child", "--net", "--ipc", "--uts"]
    argv += ["--cgroup", "--propagation", "private"]
    if not root:
        argv += ["--user", "--map-current-user", "--keep-caps"]
    outside = package.removesuffix(f"/{_PACKAGE}")
    return [*argv, "--", *_start(interpreter, outside), msgspec.json.encode(view).decode()]


def _start(interpreter: Interpreter, folder: str) -> list[str]:
    return [interpreter.path, "-I", "-S", "-B", "-c", _START, folder]
