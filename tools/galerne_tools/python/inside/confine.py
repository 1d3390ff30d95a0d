"""From a process with rights over its own namespaces to one with none at all.

Two halves. `enter` is for the process that stays: another user, a user namespace in which it has no
name outside, its own small file system in memory, no capabilities. `bind` is for the child that
will execute the code, on top: limits and the filter of system calls.
"""

from __future__ import annotations

import os
import resource
import signal
from typing import Any

from galerne_tools.python.inside import kernel

SCRATCH, CODE = "/scratch", "/code"
MOST_INODES = 4096
"""Files and folders that may lie in the scratch folder: each costs the kernel a kilobyte."""

_USER = 1000
_DESCRIPTORS = 128
_TOLD_BY_PROC = frozenset({"self", "thread-self", "mounts", "net", "cpuinfo", "meminfo", "uptime"})
"""Of `/proc`, what stays beside the processes; all else tells of the host, or can be written to."""


def enter(order: dict[str, Any], code: bytes) -> None:
    """Give up what this process has. Raises OSError, which says which step failed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if order["become"] is not None:
        os.setgroups([])
        os.setresgid(order["become"], order["become"], order["become"])
        os.setresuid(order["become"], order["become"], order["become"])
    kernel.set_dumpable(dumpable=True)  # else /proc/self, and so the maps, belong to root
    kernel.die_with_parent()  # a change of the user has cleared it
    user, group = os.getuid(), os.getgid()
    kernel.unshare(kernel.CLONE_NEWUSER | kernel.CLONE_NEWNS)
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/gid_map", f"{_USER} {group} 1")
    _write("/proc/self/uid_map", f"{_USER} {user} 1")
    _mount_own(order, code)
    _write("/proc/self/oom_score_adj", "1000")
    kernel.drop_capabilities()
    kernel.set_dumpable(dumpable=False)  # the code has the same user, and must not look in here


def _mount_own(order: dict[str, Any], code: bytes) -> None:
    plain = kernel.MS_NOSUID | kernel.MS_NODEV
    kernel.mount("", "/", flags=kernel.MS_REC | kernel.MS_PRIVATE)
    size = f"size={order['scratch']},nr_inodes={MOST_INODES},mode=0700"
    kernel.mount("tmpfs", SCRATCH, "tmpfs", plain, size)
    kernel.mount("tmpfs", CODE, "tmpfs", plain, f"size={len(code) + 65536},nr_inodes=16,mode=0700")
    with open(f"{CODE}/main.py", "wb") as file:
        file.write(code)
    kernel.restrict_mounts(CODE, kernel.ATTR_RDONLY | kernel.ATTR_NOSUID | kernel.ATTR_NODEV)
    _hide_host()


def _hide_host() -> None:
    for name in os.listdir("/proc"):
        path = f"/proc/{name}"
        if name.isdigit() or name in _TOLD_BY_PROC:
            continue
        if os.path.isdir(path):
            flags = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_RDONLY
            kernel.mount("tmpfs", path, "tmpfs", flags, "size=4k,nr_inodes=1")
        else:
            kernel.mount("/dev/null", path, flags=kernel.MS_BIND)


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def bind(order: dict[str, Any], program: bytes) -> None:
    """Set what the code may take, and what it may ask the kernel for; there is no way back."""
    for number in range(1, signal.NSIG):
        if number not in {signal.SIGKILL, signal.SIGSTOP, 32, 33}:
            signal.signal(number, signal.SIG_DFL)
    os.nice(5)
    limits = {
        resource.RLIMIT_AS: order["memory"],
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: order["scratch"],
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
        resource.RLIMIT_NOFILE: _DESCRIPTORS,
        resource.RLIMIT_NPROC: order["processes"] + 1,
        resource.RLIMIT_RTPRIO: 0,
        resource.RLIMIT_SIGPENDING: 256,
    }
    for limit, most in limits.items():
        hardest = resource.getrlimit(limit)[1]
        value = most if hardest == resource.RLIM_INFINITY else min(most, hardest)
        resource.setrlimit(limit, (value, value))
    seconds = int(order["seconds"]) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    kernel.write_only_below(SCRATCH, "/dev/null")
    kernel.filter_calls(program)
