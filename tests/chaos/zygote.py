"""A process that has imported everything once and forks the processes of a fleet.

Starting Python and importing Galerne takes most of a second of one core; a fork takes milliseconds.
What is forked is a process like any other: its own pid, its own death.

    stdin    {"arguments": ["worker", "planner"], "environ": {…}, "log": FILE, "folder": DIR}
    stdout   {"pid": 123}                  in the order of the requests
             {"pid": 123, "status": -9}    when it has ended; negative: killed by that signal

It ends with its stdin, and everything that it has forked ends with it (Linux).
"""

import ctypes
import gc
import json
import os
import selectors
import signal
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

DIE_WITH_PARENT = 1
"""PR_SET_PDEATHSIG."""


def install(folder: Path) -> None:
    """Make the chaos tools an installed package, as far as entry points can tell."""
    info = folder / "galerne_chaos-1.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: galerne-chaos\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[galerne.tools]\nchaos = chaos.tools\n")
    sys.path.append(str(folder))


def main() -> None:
    install(Path(sys.argv[1]))
    _import_everything()
    gc.collect()
    gc.freeze()  # a collection in a child would copy every page
    woken, wakes = os.pipe()
    os.set_blocking(wakes, False)
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(wakes)
    signal.signal(signal.SIGCHLD, _wake)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends with its stdin
    _serve(woken, wakes)


def _serve(woken: int, wakes: int) -> None:
    waiting = selectors.DefaultSelector()
    waiting.register(0, selectors.EVENT_READ)
    waiting.register(woken, selectors.EVENT_READ)
    unread = b""
    while True:
        for key, _ in waiting.select():
            if key.fd == woken:
                with suppress(BlockingIOError):
                    os.read(woken, 4096)
                _reap()
                continue
            piece = os.read(0, 65536)
            if not piece:
                return
            *lines, unread = (unread + piece).split(b"\n")
            for line in lines:
                pid = os.fork()
                if pid == 0:
                    _become(json.loads(line), (woken, wakes, waiting.fileno()))
                _say({"pid": pid})


def _wake(_number: int, _frame: object) -> None:
    """What the signal does is done by its file descriptor."""


def _reap() -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        _say({"pid": pid, "status": os.waitstatus_to_exitcode(status)})


def _say(message: dict[str, Any]) -> None:
    os.write(1, json.dumps(message).encode() + b"\n")


def _become(wanted: dict[str, Any], not_ours: tuple[int, ...]) -> NoReturn:
    """Be `galerne ARGUMENTS` in a process of its own, to the end."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)
        for file in not_ours:
            os.close(file)
        log = os.open(wanted["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(log)
        os.chdir(wanted["folder"])
        for name in [name for name in os.environ if name.startswith("GALERNE_")]:
            del os.environ[name]
        os.environ.update(wanted["environ"])
        from chaos.stopping import arm_from
        from galerne.cli.main import main as galerne

        arm_from(os.environ)
        code = galerne(wanted["arguments"])
    except BaseException:  # noqa: BLE001 - nothing may get back into the zygote's loop
        traceback.print_exc()
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _import_everything() -> None:
    import importlib
    import pkgutil

    import galerne
    import galerne_agents
    import galerne_tools

    for package in (galerne, galerne_agents, galerne_tools):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    for name in ("chaos.tools", "chaos.stopping"):
        importlib.import_module(name)
    with suppress(ImportError):
        importlib.import_module("uvloop")


if __name__ == "__main__":
    main()
