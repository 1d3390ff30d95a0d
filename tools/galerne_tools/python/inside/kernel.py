"""The system calls that Python 3.9 has no function for, each an OSError when it fails."""

from __future__ import annotations

import ctypes
import os

_LIBC = ctypes.CDLL(None, use_errno=True)

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 32, 4096, 16384, 1 << 18
MNT_DETACH = 2
CLONE_NEWNS, CLONE_NEWUSER = 0x00020000, 0x10000000
ATTR_RDONLY, ATTR_NOSUID, ATTR_NODEV, ATTR_NOEXEC = 1, 2, 4, 8

_SYS_MOUNT_SETATTR = 442  # the same on every machine, as all calls since Linux 5.0
_SYS_LANDLOCK_CREATE, _SYS_LANDLOCK_ADD, _SYS_LANDLOCK_RESTRICT = 444, 445, 446
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_CAPBSET_DROP = 1, 4, 24
_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT = 22, 38, 47
_SECCOMP_MODE_FILTER, _AMBIENT_CLEAR_ALL, _CAPABILITY_VERSION_3 = 2, 4, 0x20080522
_EINVAL, _SIGKILL = 22, 9
_LANDLOCK_WRITE_FILE, _LANDLOCK_BENEATH = 1 << 1, 1


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def _checked(result: int, what: str) -> int:
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")
    return result


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    arguments = [text.encode() or None for text in (source, target, kind)]
    result = _LIBC.mount(*arguments, ctypes.c_ulong(flags), data.encode() or None)
    _checked(result, f"mount {kind or source} on {target}")


def restrict_mounts(target: str, attributes: int, *, recursive: bool = True) -> None:
    """Set attributes on a mount and on those below it. Since Linux 5.12."""
    values = (ctypes.c_uint64 * 4)(attributes, 0, 0, 0)
    flags = _AT_RECURSIVE if recursive else 0
    arguments = (target.encode(), ctypes.c_uint(flags), values, ctypes.c_size_t(32))
    result = _LIBC.syscall(ctypes.c_long(_SYS_MOUNT_SETATTR), ctypes.c_int(_AT_FDCWD), *arguments)
    _checked(result, f"mount_setattr {target}")


def unmount(target: str) -> None:
    _checked(_LIBC.umount2(target.encode(), MNT_DETACH), f"umount {target}")


def pivot_root(new: str, old: str) -> None:
    number = {"x86_64": 155, "aarch64": 41}.get(os.uname().machine)
    if number is None:
        raise OSError(0, f"pivot_root: not known on {os.uname().machine}; use bubblewrap")
    _checked(_LIBC.syscall(ctypes.c_long(number), new.encode(), old.encode()), "pivot_root")


def unshare(flags: int) -> None:
    _checked(_LIBC.unshare(flags), "unshare")


def _prctl(what: str, option: int, *values: int) -> int:
    arguments = [ctypes.c_ulong(value) for value in (*values, 0, 0, 0, 0)[:4]]
    return _checked(_LIBC.prctl(option, *arguments), what)


def die_with_parent() -> None:
    _prctl("PR_SET_PDEATHSIG", _PR_SET_PDEATHSIG, _SIGKILL)


def set_dumpable(dumpable: bool) -> None:  # noqa: FBT001 - as the system call has it
    """Whether others of the same user may look into this process."""
    _prctl("PR_SET_DUMPABLE", _PR_SET_DUMPABLE, int(dumpable))


def drop_capabilities() -> None:
    """Every one, from every set, for this process and for all that it will execute."""
    _prctl("PR_SET_NO_NEW_PRIVS", _PR_SET_NO_NEW_PRIVS, 1)
    _prctl("PR_CAP_AMBIENT", _PR_CAP_AMBIENT, _AMBIENT_CLEAR_ALL)
    for capability in range(64):
        try:
            _prctl("PR_CAPBSET_DROP", _PR_CAPBSET_DROP, capability)
        except OSError as error:
            if error.errno == _EINVAL:
                break  # there are no more
            raise
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    _checked(_LIBC.capset(header, (ctypes.c_uint32 * 6)()), "capset")


def filter_calls(program: bytes) -> None:
    """Load a seccomp filter, which holds for this process and all its children, for ever."""
    loaded = _Program(len(program) // 8, program)
    address = ctypes.addressof(loaded)
    _prctl("PR_SET_SECCOMP", _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, address)


def write_only_below(*folders: str) -> bool:
    """Nothing else may be opened for writing, FIFOs included, which read-only mounts let pass.

    False where the kernel has no Landlock.
    """
    rules = (ctypes.c_uint64 * 1)(_LANDLOCK_WRITE_FILE)
    number = ctypes.c_long(_SYS_LANDLOCK_CREATE)
    ruleset = _LIBC.syscall(number, rules, ctypes.c_size_t(8), ctypes.c_uint(0))
    if ruleset < 0:
        return False
    for folder in folders:
        opened = os.open(folder, os.O_PATH | os.O_CLOEXEC)
        rule = (_LANDLOCK_WRITE_FILE).to_bytes(8, "little") + opened.to_bytes(4, "little")
        arguments = (ctypes.c_int(_LANDLOCK_BENEATH), rule, ctypes.c_uint(0))
        number = ctypes.c_long(_SYS_LANDLOCK_ADD)
        _checked(_LIBC.syscall(number, ctypes.c_int(ruleset), *arguments), "landlock_add_rule")
        os.close(opened)
    number = ctypes.c_long(_SYS_LANDLOCK_RESTRICT)
    _checked(_LIBC.syscall(number, ctypes.c_int(ruleset), ctypes.c_uint(0)), "landlock_restrict")
    os.close(ruleset)
    return True
