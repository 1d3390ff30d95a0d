"""Which sandbox works on this host: found out by making one, when the worker starts.

Kernels, containers and distributions forbid namespaces in many ways, and say so only when asked for
one; so a small program is run in each kind of sandbox until one gives the right answer.
"""

import contextlib
import os
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Literal

import msgspec

from galerne.errors import InvalidSettingsError
from galerne.settings import PythonSettings, ToolSettings
from galerne_tools.python import policy
from galerne_tools.python.frames import Order, order_bytes
from galerne_tools.python.syscalls import build_filter

Kind = Literal["bubblewrap", "unshare"]
KINDS: tuple[Kind, ...] = ("bubblewrap", "unshare")
_PROGRAMS: dict[Kind, str] = {"bubblewrap": "bwrap", "unshare": "unshare"}

_PATIENCE = 20.0
_PACKAGE = str(Path(__file__).resolve().parent / "inside")
_TRIAL = b"print(6 * 7)"
_ANSWER = b"42\n"
_ASK = (
    "import json, sys; print(json.dumps([sys.executable, sys.prefix, sys.exec_prefix, "
    "sys.base_prefix, sys.base_exec_prefix, sys.version_info[:2]]))"
)


class Sandbox(msgspec.Struct, frozen=True):
    """A sandbox that was seen to work: `command` makes one, `order` says what a run may take."""

    kind: Kind
    command: tuple[str, ...]
    order: Order
    filter: bytes


def find_sandbox(settings: ToolSettings) -> Sandbox:
    """The one that the settings name, or the first that works.

    Raises InvalidSettingsError, one line with what each kind has said.
    """
    wanted = settings.python.sandbox
    said: list[str] = []
    program = build_filter()
    interpreter = _interpreter(settings.python)
    for kind in KINDS if wanted == "auto" else (wanted,):
        command = _command(kind, settings, interpreter)
        if command is None:
            said.append(f"{_PROGRAMS[kind]} is not installed")
            continue
        sandbox = Sandbox(kind, tuple(command), _order(settings.python, interpreter), program)
        fault = _try(sandbox)
        if fault is None:
            return sandbox
        said.append(f"{_PROGRAMS[kind]}: {fault}")
    raise InvalidSettingsError(
        f"tools.python is enabled, but no sandbox can be made here ({'; '.join(said)}); install "
        "bubblewrap, allow user namespaces, or set tools.python.enabled to false"
    )


def _command(
    kind: Kind, settings: ToolSettings, interpreter: policy.Interpreter
) -> list[str] | None:
    program = shutil.which(_PROGRAMS[kind])
    if program is None:
        return None
    host = _host()
    view = policy.view_of(host, interpreter, os.path.realpath(settings.root), _PACKAGE)
    if kind == "bubblewrap":
        return policy.bubblewrap_command(program, view, interpreter, root=host.is_root)
    return policy.unshare_command(program, view, interpreter, _PACKAGE, root=host.is_root)


def _order(settings: PythonSettings, interpreter: policy.Interpreter) -> Order:
    return Order(
        interpreter=interpreter.path,
        become=policy.NOBODY if os.geteuid() == 0 else None,
        seconds=settings.seconds,
        memory=settings.memory,
        processes=settings.processes,
        output=settings.output,
        scratch=settings.scratch,
    )


def _host() -> policy.Host:
    folders = [Path(path) for path in policy.SYSTEM_FOLDERS]
    extras = [Path(path) for path in policy.SYSTEM_EXTRAS]
    shown = [path for path in folders if path.is_dir() and not path.is_symlink()]
    return policy.Host(
        shown=tuple(str(path) for path in [*shown, *(path for path in extras if path.exists())]),
        links=tuple((str(path.readlink()), str(path)) for path in folders if path.is_symlink()),
        is_root=os.geteuid() == 0,
    )


def _interpreter(settings: PythonSettings) -> policy.Interpreter:
    import sys

    asked = settings.interpreter or sys.executable
    try:
        answer = subprocess.run(  # noqa: S603 - the deployment's own setting
            [asked, "-I", "-c", _ASK], capture_output=True, check=True, timeout=_PATIENCE
        )
        path, *folders, version = msgspec.json.decode(answer.stdout)
    except (OSError, subprocess.SubprocessError, msgspec.DecodeError, ValueError) as error:
        raise InvalidSettingsError(
            f"tools.python.interpreter: {asked} is no Python that can be run ({error})"
        ) from error
    if version < [3, 9]:
        raise InvalidSettingsError(f"tools.python.interpreter: {asked} is older than Python 3.9")
    real = str(Path(path).resolve().parent.parent)
    return policy.Interpreter(path, tuple(dict.fromkeys([*folders, real])))


def _try(sandbox: Sandbox) -> str | None:
    """What is wrong with it; None: nothing."""
    order = order_bytes(sandbox.order, sandbox.filter, _TRIAL)
    pipe = subprocess.PIPE
    try:
        process = subprocess.Popen(  # noqa: S603 - a command of ours
            sandbox.command, stdin=pipe, stdout=pipe, stderr=pipe, env={}, cwd="/", bufsize=0
        )
    except OSError as error:
        return str(error)
    watchdog = threading.Timer(_PATIENCE, process.kill)
    watchdog.start()
    with process:
        assert process.stdin, "it is a pipe"
        assert process.stdout, "it is a pipe"
        assert process.stderr, "it is a pipe"
        with contextlib.suppress(BrokenPipeError):  # then it says why on its standard error
            process.stdin.write(order)
        answer, said = process.stdout.read(), process.stderr.read().decode("utf-8", "replace")
    watchdog.cancel()
    if b"\n" + _ANSWER in answer:
        return None
    return " ".join(said.split())[:300] or "it gave a wrong answer"
