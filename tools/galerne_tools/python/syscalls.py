"""Which system calls code in the sandbox may make, as a seccomp filter.

A list of what is allowed, so that a call that a later kernel brings is refused until somebody has
looked at it. What is not listed does not exist for the code (ENOSYS: C libraries then take the
older call), and another machine's calls kill it. Names become numbers in libseccomp, which every
distribution keeps: on Debian it is there with apt itself.
"""

import ctypes
import os
from collections.abc import Generator
from contextlib import contextmanager
from errno import ENETUNREACH, ENOSYS
from typing import Any, NamedTuple

from galerne.errors import InvalidSettingsError

_NAMES = """
    access alarm arch_prctl brk capget chdir chmod clock_getres clock_gettime clock_nanosleep close
    close_range copy_file_range creat dup dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_pwait
    epoll_pwait2 epoll_wait eventfd eventfd2 execve execveat exit exit_group faccessat faccessat2
    fadvise64 fallocate fchdir fchmod fchmodat fchmodat2 fcntl fdatasync fgetxattr flistxattr flock
    fork fstat fstatfs fsync ftruncate futex futex_waitv get_robust_list get_thread_area getcpu
    getcwd getdents getdents64 getegid geteuid getgid getgroups getitimer getpeername getpgid
    getpgrp getpid getppid getpriority getrandom getresgid getresuid getrlimit getrusage getsid
    getsockname getsockopt gettid gettimeofday getuid getxattr inotify_add_watch inotify_init
    inotify_init1 inotify_rm_watch kill lgetxattr link linkat listxattr llistxattr lseek lstat
    madvise membarrier mincore mkdir mkdirat mmap mprotect mremap msync munmap nanosleep newfstatat
    open openat openat2 pause pidfd_open pidfd_send_signal pipe pipe2 poll ppoll pread64 preadv
    preadv2 pselect6 pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv recvfrom
    recvmmsg recvmsg rename renameat renameat2 restart_syscall rmdir rseq rt_sigaction rt_sigpending
    rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_tgsigqueueinfo
    sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr sched_getparam
    sched_getscheduler sched_rr_get_interval sched_yield select sendfile sendmmsg sendmsg sendto
    set_robust_list set_thread_area set_tid_address setitimer setpgid setpriority setrlimit setsid
    setsockopt shutdown sigaltstack signalfd signalfd4 splice stat statfs statx symlink symlinkat
    sync_file_range sysinfo tee tgkill time timer_create timer_delete timer_getoverrun timer_gettime
    timer_settime timerfd_create timerfd_gettime timerfd_settime times tkill truncate umask uname
    unlink unlinkat utime utimensat utimes vfork wait4 waitid write writev
"""
ALLOWED = frozenset(_NAMES.split())

_OWN_PROCESS = 0
_NAMESPACES = 0x7E020080  # every CLONE_NEW… flag
_AF_UNIX = 1
_TERMINAL_AND_FILE = (0x5401, 0x540F, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
"""TCGETS, TIOCGPGRP, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX: what libraries ask."""
_PRCTL = (1, 2, 3, 4, 15, 16, 21, 23, 39, 0x53564D41)
"""Death signal, dumpable, name, seccomp, capabilities and privileges (to read), names of memory."""


class Exact(NamedTuple):
    """Calls with this name are allowed where `argument`, masked, is `value`."""

    name: str
    argument: int
    value: int
    mask: int = 2**64 - 1


CONDITIONAL = (
    Exact("clone", 0, 0, _NAMESPACES),
    Exact("prlimit64", 0, _OWN_PROCESS),
    Exact("socketpair", 0, _AF_UNIX),
    *(Exact("ioctl", 1, request) for request in _TERMINAL_AND_FILE),
    *(Exact("prctl", 0, option) for option in _PRCTL),
)
"""Nothing else of `ioctl`: no TIOCSTI, which types into a terminal. `clone3` is not allowed at all,
since a filter cannot see its flags."""

ANSWERS = {"socket": ENETUNREACH}
"""What says better than "not implemented" what is the matter."""


def build_filter() -> bytes:
    """The program for the kernel of this machine.

    Raises InvalidSettingsError where there is no libseccomp.
    """
    try:
        library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    except OSError as error:
        raise InvalidSettingsError(
            "the sandbox needs libseccomp (on Debian: apt-get install libseccomp2)"
        ) from error
    _declare(library)
    with _filter(library) as rules:
        for name in sorted(ALLOWED):
            _allow(library, rules, name)
        for rule in CONDITIONAL:
            _allow(library, rules, rule.name, rule)
        for name, error_number in ANSWERS.items():
            number = library.seccomp_syscall_resolve_name(name.encode())
            _done(library.seccomp_rule_add_array(rules, _answer(error_number), number, 0, None))
        return _exported(library, rules)


class _Comparison(ctypes.Structure):
    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operation", ctypes.c_int),
        ("first", ctypes.c_uint64),
        ("second", ctypes.c_uint64),
    )


_ALLOW, _KILL, _BAD_MACHINE, _MASKED_EQUAL = 0x7FFF0000, 0x80000000, 2, 7


def _answer(error_number: int) -> int:
    return 0x00050000 | error_number


def _declare(library: Any) -> None:
    rules = ctypes.c_void_p
    library.seccomp_init.restype = rules
    library.seccomp_init.argtypes = [ctypes.c_uint32]
    library.seccomp_release.argtypes = [rules]
    library.seccomp_attr_set.argtypes = [rules, ctypes.c_int, ctypes.c_uint32]
    library.seccomp_syscall_resolve_name.argtypes = [ctypes.c_char_p]
    library.seccomp_rule_add_array.argtypes = [
        rules,
        ctypes.c_uint32,
        ctypes.c_int,
        ctypes.c_uint,
        ctypes.POINTER(_Comparison),
    ]
    library.seccomp_export_bpf.argtypes = [rules, ctypes.c_int]


@contextmanager
def _filter(library: Any) -> Generator[Any]:
    rules = library.seccomp_init(_answer(ENOSYS))
    try:
        _done(library.seccomp_attr_set(rules, _BAD_MACHINE, _KILL))
        yield rules
    finally:
        library.seccomp_release(rules)


def _allow(library: Any, rules: Any, name: str, only: Exact | None = None) -> None:
    number = library.seccomp_syscall_resolve_name(name.encode())
    if number < 0:
        return  # another machine's call, or one that this libseccomp does not know: refused
    if only is None:
        _done(library.seccomp_rule_add_array(rules, _ALLOW, number, 0, None))
        return
    compared = _Comparison(only.argument, _MASKED_EQUAL, only.mask, only.value)
    _done(library.seccomp_rule_add_array(rules, _ALLOW, number, 1, ctypes.byref(compared)))


def _exported(library: Any, rules: Any) -> bytes:
    reading, writing = os.pipe()  # a program has 8 bytes an instruction: some kilobytes
    try:
        _done(library.seccomp_export_bpf(rules, writing))
    finally:
        os.close(writing)
        with os.fdopen(reading, "rb") as file:
            program = file.read()
    return program


def _done(result: int) -> None:
    if result < 0:
        raise InvalidSettingsError(f"libseccomp: {os.strerror(-result)}")
