"""Runs the code, reads what it writes, and ends it with everything that it has started.

The limits that the kernel holds are set for each process; here stands what holds for all together:
time, processor time, memory. What the code writes is read all the time, and kept only in part, so
that neither it waits nor the memory grows.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import time
from typing import Any, NamedTuple

from galerne_tools.python.inside import confine

_INTERVAL = 0.05
_SHORT_INTERVAL = 0.005
"""Between two looks for the end of code that writes no more, and most likely is at it."""
_PIECE = 65536
_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")
_LIFELINE = 0
_ENVIRONMENT = {
    "HOME": confine.SCRATCH,
    "TMPDIR": confine.SCRATCH,
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "OPENBLAS_NUM_THREADS": "1",  # each thread reserves address space, of which there is little
    "OMP_NUM_THREADS": "1",
}


class Kept:
    """The beginning and the end of a stream, at most `most` bytes; what is between is counted."""

    def __init__(self, most: int) -> None:
        self._half = most // 2
        self._head, self._tail, self._seen = bytearray(), bytearray(), 0

    def add(self, piece: bytes) -> None:
        self._seen += len(piece)
        room = self._half - len(self._head)
        self._head += piece[:room]
        self._tail += piece[room:]
        del self._tail[: max(0, len(self._tail) - self._half)]

    def parts(self) -> tuple[bytes, bytes, int]:
        """The beginning, the end, and how many bytes are missing between them."""
        head, tail = bytes(self._head), bytes(self._tail)
        return head, tail, self._seen - len(head) - len(tail)


class Ended(NamedTuple):
    """`why`: `exit` or `signal`, with its number, or the limit that was met."""

    why: str
    number: int
    output: Kept
    errors: Kept


def run(order: dict[str, Any], program: bytes) -> Ended:
    """Run `/code/main.py` to its end, or to a limit; afterwards nothing of it is left."""
    (out_read, out_write), (err_read, err_write) = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        _become_code(order, program, out_write, err_write)
    os.close(out_write)
    os.close(err_write)
    kept = {out_read: Kept(order["output"]), err_read: Kept(order["output"])}
    open_pipes = set(kept)
    for pipe in kept:
        os.set_blocking(pipe, False)
    why, number = _follow(order, child, kept, open_pipes)
    _end_all()
    for pipe in open_pipes:
        _read(pipe, kept[pipe])
    return Ended(why, number, kept[out_read], kept[err_read])


def _become_code(order: dict[str, Any], program: bytes, output: int, errors: int) -> None:
    """In the child: execute the code; never returns."""
    try:
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDONLY)
        for number, descriptor in enumerate((nothing, output, errors)):
            os.dup2(descriptor, number)
        os.closerange(3, 4096)
        os.chdir(confine.SCRATCH)
        command = [order["interpreter"], "-I", "-B", "-u", f"{confine.CODE}/main.py"]
        confine.bind(order, program)
        os.execve(command[0], command, _ENVIRONMENT)  # noqa: S606 - there is no shell on purpose
    except BaseException as error:  # noqa: BLE001 - whatever it is, this process must not go on
        os.write(2, f"the interpreter could not be run: {error}\n".encode())
    finally:
        os._exit(127)


def _follow(
    order: dict[str, Any], child: int, kept: dict[int, Kept], open_pipes: set[int]
) -> tuple[str, int]:
    until = time.monotonic() + order["seconds"]
    poll = select.poll()
    poll.register(_LIFELINE, 0)  # only its end is of interest
    for pipe in open_pipes:
        poll.register(pipe, select.POLLIN)
    look = 0.0
    while True:
        interval = _INTERVAL if open_pipes else _SHORT_INTERVAL
        for descriptor, _ in poll.poll(interval * 1000):
            if descriptor == _LIFELINE:
                os._exit(1)  # nobody waits any more: the kernel ends the rest with process 1
            if not _read(descriptor, kept[descriptor], 16):
                open_pipes.discard(descriptor)
                poll.unregister(descriptor)
        status = _reap(child)
        if status is not None:
            return _why(status)
        now = time.monotonic()
        if now >= until:
            return "seconds", 0
        if now >= look:
            look = now + _INTERVAL
            over = _over(order)
            if over:
                return over, 0


def _read(pipe: int, kept: Kept, pieces: int = 1 << 20) -> bool:
    """What there is, as far as so many pieces. False once it has ended."""
    for _ in range(pieces):
        try:
            piece = os.read(pipe, _PIECE)
        except BlockingIOError:
            return True
        if not piece:
            return False
        kept.add(piece)
    return True


def _reap(child: int) -> int | None:
    """Collect what has ended, orphans too; the status of the child once it is among them."""
    while True:
        try:
            ended, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return None
        if ended == 0:
            return None
        if ended == child:
            return status


def _why(status: int) -> tuple[str, int]:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return ("cpu", 0) if number == signal.SIGXCPU else ("signal", number)
    return "exit", os.WEXITSTATUS(status)


def _over(order: dict[str, Any]) -> str:
    """Which limit all processes together are over; empty: none."""
    done = resource.getrusage(resource.RUSAGE_CHILDREN)
    ticks, pages = 0, 0
    for process in _others():
        try:
            with open(f"/proc/{process}/stat", encoding="ascii", errors="replace") as file:
                fields = file.read().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended
        ticks += int(fields[11]) + int(fields[12])
        pages += int(fields[21])
    if done.ru_utime + done.ru_stime + ticks / _TICKS > order["seconds"]:
        return "cpu"
    over_memory = pages * _PAGE > order["memory"] and _memory() > order["memory"]
    return "memory" if over_memory else ""


def _memory() -> int:
    """Bytes of all together, each page once; slower to find out than the pages of each."""
    total = 0
    for process in _others():
        try:
            with open(f"/proc/{process}/smaps_rollup", encoding="ascii") as file:
                total += sum(int(line.split()[1]) for line in file if line.startswith("Pss:"))
        except OSError:  # it has ended, or does not want to be looked at
            total += _resident(process)
    return total * 1024


def _resident(process: str) -> int:
    """Kilobytes of a process, those that it shares too."""
    try:
        with open(f"/proc/{process}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * _PAGE // 1024
    except OSError:
        return 0


def _others() -> list[str]:
    return [name for name in os.listdir("/proc") if name.isdigit() and name != "1"]


def _end_all() -> None:
    """Kill every process of the namespace but this one, until none is left."""
    while True:
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return
