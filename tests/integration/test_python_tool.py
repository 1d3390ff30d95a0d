"""The tool `python`: what comes back of a run, four at once, and nothing left however it ends."""

import hashlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from galerne.errors import InvalidSettingsError
from galerne.messages.blobs import Blob, new_blob
from galerne.messages.tools import ToolRefused, ToolResult
from galerne.settings import PythonSettings, ToolSettings
from galerne.tools import AnyTool, invoke
from galerne_tools.python import tools
from galerne_tools.python.backends import find_sandbox
from integration.sandboxes import (
    KINDS,
    SMALL,
    Kind,
    alive,
    context,
    ran,
    settings_for,
    tool_of,
    until_gone,
)

pytestmark = pytest.mark.anyio

ALLOW_ALL = (0x06).to_bytes(2, "little") + bytes(2) + (0x7FFF0000).to_bytes(4, "little")
"""A seccomp program of one instruction, which lets every call pass."""


class Store:
    """Keeps in memory what is put."""

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}

    async def put_bytes(
        self, data: bytes, *, name: str | None = None, media: str | None = None
    ) -> Blob:
        digest = hashlib.sha256(data).hexdigest()
        self.content[digest] = data
        return new_blob(digest, len(data), name=name, media=media)

    async def put_file(
        self, path: Path, *, name: str | None = None, media: str | None = None
    ) -> Blob:
        content = await anyio.Path(path).read_bytes()
        return await self.put_bytes(content, name=name or path.name, media=media)

    async def save_to(self, blob: Blob, path: Path) -> None:
        await anyio.Path(path).write_bytes(self.content[blob.sha256])

    async def read(self, blob: Blob, most: int) -> bytes:
        return self.content[blob.sha256][:most]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("root-of-python")
    (folder / "table.csv").write_text("a,b\n1,2\n3,4\n")
    folder.chmod(0o755)  # as a worker of root, the code runs as nobody
    return folder


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    chosen: Kind = request.param
    return chosen


@pytest.fixture(scope="module")
def tool(kind: Kind, root: Path) -> AnyTool:
    return tool_of(root, kind)


# what comes back


async def test_what_it_prints(tool: AnyTool) -> None:
    value = await ran(tool, "print('grün', 6 * 7)")
    assert value == {"ended": "finished", "output": "grün 42\n"}


async def test_it_reads_the_tools_root(tool: AnyTool) -> None:
    code = (
        "import csv; print(sum(int(row['b']) for row in csv.DictReader(open('/files/table.csv'))))"
    )
    assert (await ran(tool, code))["output"] == "6\n"


async def test_nothing_printed_is_told(tool: AnyTool) -> None:
    value = await ran(tool, "6 * 7")
    assert value == {
        "ended": "finished",
        "note": "it printed nothing: use print() to show a value",
    }


async def test_a_traceback_shows_the_line(tool: AnyTool) -> None:
    value = await ran(tool, "print('so far')\nx = {}\nprint(x['total'])\n")
    assert value["ended"] == "failed with exit status 1"
    assert value["output"] == "so far\n"
    assert value["errors"].splitlines()[-1] == "KeyError: 'total'"
    assert "line 3" in value["errors"]
    assert "print(x['total'])" in value["errors"]


async def test_code_that_is_no_python(tool: AnyTool) -> None:
    value = await ran(tool, "print(1")
    assert "SyntaxError" in value["errors"]


@pytest.mark.parametrize("code", ["\ud800", "print('\ud800')"])
async def test_code_that_is_no_text(tool: AnyTool, code: str) -> None:
    outcome = await invoke(tool, {"code": code}, context())
    assert isinstance(outcome, ToolRefused)
    assert outcome.code in {"tool", "invalid_input"}


async def test_an_exit_status_and_a_signal(tool: AnyTool) -> None:
    assert (await ran(tool, "raise SystemExit(3)"))["ended"] == "failed with exit status 3"
    killed = await ran(tool, "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    assert killed["ended"] == "killed by SIGSEGV"


async def test_more_seconds_than_allowed_are_as_many_as_allowed(root: Path, kind: Kind) -> None:
    tool_of(root, kind)
    settings = settings_for(root, kind)
    python = msgspec.structs.replace(settings.python, seconds=1.0)
    made = tools(msgspec.structs.replace(settings, python=python))[0]
    value = await ran(made, "import time\nprint('on it')\ntime.sleep(60)", 50.0)
    assert value["ended"] == "stopped after 1 s, not finished; nothing may take longer"
    assert value["output"] == "on it\n"


async def test_what_was_written_before_the_end_of_time_is_kept(tool: AnyTool) -> None:
    value = await ran(tool, "import time\nopen('a', 'w').write('b')\ntime.sleep(60)", 1.0)
    assert value["ended"] == "stopped after 1 s, not finished; it may have 8 s"
    assert value["files"] == [{"path": "a", "size": 1, "text": "b"}]


async def test_small_files_come_as_text_and_others_as_blobs(tool: AnyTool) -> None:
    code = """
import os
os.mkdir("out")
open("out/small.txt", "w").write("ein kleiner Text")
open("out/picture.png", "wb").write(bytes(range(256)))
open("out/table.csv", "w").write("1,2\\n" * 5000)
open(b"\\xff.bin", "wb").write(b"\\0")
"""
    store = Store()
    value = await ran(tool, code, blobs=store)
    files = {file["path"]: file for file in value["files"]}
    assert files["out/small.txt"] == {
        "path": "out/small.txt",
        "size": 16,
        "text": "ein kleiner Text",
    }
    assert files["out/picture.png"]["content"]["media"] == "image/png"
    assert files["out/table.csv"]["content"]["name"] == "table.csv"
    assert store.content[files["out/table.csv"]["content"]["$blob"]] == b"1,2\n" * 5000
    assert files["\ufffd.bin"]["content"]["name"] == "_.bin"


async def test_a_large_file_without_a_store_is_named(tool: AnyTool) -> None:
    value = await ran(tool, "open('big', 'wb').write(bytes(2**20))")
    assert value["files"][0]["size"] == 2**20
    assert "there is no store" in value["files"][0]["note"]


async def test_nothing_is_kept_from_one_run_to_the_next(tool: AnyTool) -> None:
    await ran(tool, "open('kept', 'w').write('x')")
    assert (await ran(tool, "import os; print(os.listdir())"))["output"] == "[]\n"


async def test_a_pool_of_processes_works(tool: AnyTool) -> None:
    code = """
from multiprocessing import get_context
def square(n): return n * n
if __name__ == "__main__":
    with get_context("fork").Pool(2) as pool: print(pool.map(square, range(5)))
"""
    assert (await ran(tool, code))["output"] == "[0, 1, 4, 9, 16]\n"


# many, and ends


async def test_four_at_once_see_nothing_of_each_other(tool: AnyTool) -> None:
    values: dict[int, dict[str, Any]] = {}

    async def one(number: int) -> None:
        code = f"""
import os, time
open("mine", "w").write("{number}")
time.sleep(0.5)
print(open("mine").read(), os.listdir(), len([n for n in os.listdir("/proc") if n.isdigit()]))
"""
        values[number] = await ran(tool, code)

    async with anyio.create_task_group() as runs:
        for number in range(4):
            runs.start_soon(one, number)
    assert {number: value["output"] for number, value in values.items()} == {
        number: f"{number} ['mine'] 2\n" for number in range(4)
    }


def lingering(token: str) -> str:
    """Code that starts a daemon and waits, both with the token in their command lines."""
    return f"""
import os, sys
command = [sys.executable, "-c", "import time; time.sleep(600)  # {token}"]
if os.fork() == 0:
    os.setsid()
os.execv(command[0], command)
"""


async def until_two(token: str) -> None:
    with anyio.fail_after(60):
        while len(alive(token)) < 2:
            await anyio.sleep(0.02)


async def test_a_cancelled_call_leaves_nothing(tool: AnyTool, root: Path) -> None:
    token = f"cancelled-{os.getpid()}-{root}"
    async with anyio.create_task_group() as calls:
        calls.start_soon(ran, tool, lingering(token))
        await until_two(token)
        calls.cancel_scope.cancel()
    await until_gone(token)
    await until_gone(f"{root}")
    assert alive(token) == alive(f"{root}") == []


async def test_a_worker_that_is_killed_leaves_nothing(kind: Kind, root: Path) -> None:
    tool_of(root, kind)
    token = f"orphaned-{os.getpid()}-{root}"
    settings = settings_for(root, kind)
    arguments = {"root": settings.root, "kind": kind, "code": lingering(token)}
    command = [sys.executable, __file__, json.dumps(arguments)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    async with await anyio.open_process(command, env=environment, stdin=None) as worker:
        try:
            await until_two(f"# {token}")
        finally:
            worker.kill()
    await until_gone(token)
    await until_gone(f"{root}")
    assert alive(token) == alive(f"{root}") == []


async def test_a_sandbox_that_is_killed_is_an_error_that_can_be_read(
    tool: AnyTool, root: Path
) -> None:
    token = f"killed-{os.getpid()}-{root}"
    outcomes: list[ToolRefused | ToolResult] = []

    async def call() -> None:
        outcomes.append(await invoke(tool, {"code": lingering(token)}, context()))

    async with anyio.create_task_group() as calls:
        calls.start_soon(call)
        await until_two(token)
        for process in _first_inside(str(root)):
            os.kill(process, signal.SIGKILL)
    assert isinstance(outcomes[0], ToolRefused)
    assert outcomes[0].code == "tool"
    assert outcomes[0].message.startswith("the sandbox ended early")
    await until_gone(token)


def _first_inside(token: str) -> list[int]:
    """Process 1 of each sandbox whose command line has the token."""
    found: list[int] = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes().decode()
            inside = (folder / "task" / folder.name / "children").read_text().split()
        except OSError:
            continue
        if token in line and line.split("\0")[0].endswith(("bwrap", "unshare")):
            found += [int(number) for number in inside]
    return found


# layers


@pytest.mark.parametrize(
    "code",
    [
        "import socket; socket.create_connection(('127.0.0.1', 9), 2)",
        "import os; os.kill(1, 0); os.chroot('/')",
        "import os; os.setuid(0)",
        """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
if libc.mount(b"t", b"/scratch", b"tmpfs", 0, None):
    raise OSError(ctypes.get_errno(), "not mounted")
""",
        "open('/files/new', 'w')",
        "open('/proc/1/environ')",
    ],
)
async def test_the_namespaces_hold_without_the_filter(
    kind: Kind, root: Path, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool_of(root, kind)
    monkeypatch.setattr("galerne_tools.python.backends.build_filter", lambda: ALLOW_ALL)
    unfiltered = tools(settings_for(root, kind))[0]
    value = await ran(unfiltered, code)
    assert value["ended"] == "failed with exit status 1"
    assert "Error: [Errno" in value["errors"]
    assert "Function not implemented" not in value["errors"], "that was the filter"


# where it is offered


def test_it_is_off_unless_somebody_says_so() -> None:
    assert tools(ToolSettings()) == []


def test_where_no_sandbox_can_be_made_one_line_says_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho 'bwrap: No permission to create a namespace' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InvalidSettingsError) as raised:
        find_sandbox(ToolSettings(python=SMALL))
    said = str(raised.value)
    assert "bwrap: bwrap: No permission to create a namespace; unshare is not installed" in said
    assert "set tools.python.enabled to false" in said
    assert "\n" not in said


@pytest.mark.parametrize("interpreter", ["/nowhere/python", "/bin/true", "/bin/false"])
def test_an_interpreter_that_is_none(interpreter: str) -> None:
    with pytest.raises(InvalidSettingsError, match="is no Python that can be run"):
        find_sandbox(ToolSettings(python=PythonSettings(enabled=True, interpreter=interpreter)))


def test_the_root_of_the_host_is_not_shown() -> None:
    with pytest.raises(InvalidSettingsError, match="so give a folder"):
        find_sandbox(ToolSettings(root="/", python=SMALL))


if __name__ == "__main__":  # a worker, for the test that kills it
    given = json.loads(sys.argv[1])
    anyio.run(ran, tool_of(Path(given["root"]), given["kind"]), given["code"])
