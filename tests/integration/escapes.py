"""Attempts to get out of the sandbox, to take more than is allowed, or to leave something behind.

Each is a program, run as a model's would be, and a pattern: what it must read, which says what has
held. A program prints ESCAPED where it got further than it may. `$name` stands for what the test has
put outside: a server's `$port`, a `$victim` process, files.
"""

from typing import NamedTuple

_CALLS = """
import ctypes, errno, os, platform
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *arguments):
    result = getattr(libc, name)(*arguments)
    print(name, "ESCAPED" if result >= 0 else errno.errorcode[ctypes.get_errno()])
def raw(name, x86, arm, *arguments):
    number = {"x86_64": x86, "aarch64": arm}[platform.machine()]
    result = libc.syscall(ctypes.c_long(number), *arguments)
    print(name, "ESCAPED" if result >= 0 else errno.errorcode[ctypes.get_errno()])
"""
_TRY = """
import os, sys
def held(what, function):
    try:
        print(what, "ESCAPED", function())
    except OSError as error:
        print(what, type(error).__name__, error.errno)
"""


class Attempt(NamedTuple):
    """`seconds` is what the call asks for, None: what the settings allow."""

    name: str
    code: str
    held: str
    seconds: float | None = None


def _opened(*paths: str, mode: str = "r") -> str:
    return _TRY + f"for path in {paths!r}:\n    held(path, lambda: open(path, {mode!r}).read())\n"


ATTEMPTS = (
    # to see
    Attempt(
        "read the worker's environment",
        """
import glob, os
print(sorted(os.environ))
for path in glob.glob("/proc/*/environ"):
    try:
        if b"$secret" in open(path, "rb").read(): print("ESCAPED", path)
    except OSError as error:
        print(path, type(error).__name__)
""",
        r"'HOME', 'LANG', .*/proc/1/environ PermissionError",
    ),
    Attempt(
        "read what only root may",
        _opened("/etc/shadow", "/etc/passwd", "/root/.ssh", "/home", "/var", "/run", "/sys/kernel"),
        r"(FileNotFoundError 2|IsADirectoryError|PermissionError)",
    ),
    Attempt("read a file of the host", _opened("$outside"), "FileNotFoundError 2"),
    Attempt(
        "look through process 1",
        _TRY
        + """
held("root", lambda: os.listdir("/proc/1/root"))
held("cwd", lambda: os.listdir("/proc/1/cwd"))
held("fd", lambda: os.listdir("/proc/1/fd"))
held("mem", lambda: open("/proc/1/mem", "rb"))
held("maps", lambda: open("/proc/1/maps").read())
""",
        r"root PermissionError 13\ncwd PermissionError 13\nfd PermissionError 13\nmem Perm.*\nmaps Perm",
    ),
    Attempt(
        "see other processes",
        """
import os
seen = [name for name in os.listdir("/proc") if name.isdigit()]
print("processes", len(seen), "ESCAPED" if len(seen) > 2 else "")
print("victim", "ESCAPED" if os.path.exists("/proc/$victim") and $victim > 5 else "unseen")
""",
        r"processes 2 \nvictim unseen",
    ),
    Attempt(
        "use descriptors of the worker",
        """
import os
found = []
for number in range(3, 4096):
    try:
        os.fstat(number); found.append(number)
    except OSError: pass
print("open", found, "ESCAPED" if found else "none of the worker's")
print(sorted(os.listdir("/proc/self/fd")), os.readlink("/proc/self/fd/0"))
""",
        r"open \[\] none of the worker's\n\['0', '1', '2', '3'\] /dev/null",
    ),
    Attempt(
        "read memory and disks by devices",
        _opened(
            "/dev/mem", "/dev/kmem", "/dev/port", "/dev/vda", "/dev/sda", "/dev/kmsg", "/dev/fuse"
        )
        + """
import stat
print(sorted(os.listdir("/dev")))
held("mknod", lambda: os.mknod("disk", stat.S_IFBLK | 0o666, os.makedev(8, 0)))
""",
        r"fuse FileNotFoundError 2.*mknod OSError 38",
    ),
    Attempt(
        "read what /proc tells of the host",
        """
for name in "kcore keys kallsyms cmdline modules sysrq-trigger timer_list".split():
    try:
        print(name, "ESCAPED" if open("/proc/" + name, "rb").read(10) else "empty")
    except OSError as error:
        print(name, type(error).__name__)
""",
        r"kcore (empty|FileNotFoundError).*timer_list (empty|FileNotFoundError)",
    ),
    # to write
    Attempt(
        "write outside of the scratch folder",
        _TRY
        + """
for folder in "/ /usr /etc /dev /proc /bin /code /sandbox /files /root".split():
    held(folder, lambda: open(folder + "/made", "w"))
held("own code", lambda: open("/code/main.py", "a"))
held("comm", lambda: open("/proc/1/comm", "w").write("x"))
held("sysctl", lambda: open("/proc/sys/kernel/core_pattern", "w"))
held("oom", lambda: open("/proc/1/oom_score_adj", "w").write("-1000"))
""",
        r"/usr (OSError 30|PermissionError 13).*/sandbox (OSError 30|PermissionError 13)",
    ),
    Attempt(
        "change the tools' root folder",
        _TRY
        + """
held("write", lambda: open("/files/given.txt", "w"))
held("append", lambda: open("/files/given.txt", "a"))
held("make", lambda: os.mkdir("/files/made"))
held("remove", lambda: os.unlink("/files/given.txt"))
held("rename", lambda: os.rename("/files/given.txt", "/files/other.txt"))
held("mode", lambda: os.chmod("/files/given.txt", 0o777))
held("times", lambda: os.utime("/files/given.txt", (1, 1)))
held("link", lambda: os.symlink("x", "/files/link"))
print(open("/files/given.txt").read())
""",
        r"remove OSError 30\nrename OSError 30\nmode OSError 30\ntimes OSError 30.*given to all",
    ),
    Attempt(
        "send into a FIFO of the tools' root folder",
        _TRY
        + 'held("fifo", lambda: os.write(os.open("/files/fifo", os.O_WRONLY | os.O_NONBLOCK), b"x"))',
        "fifo PermissionError 13",
    ),
    Attempt(
        "have the worker follow links out",
        """
import os
os.symlink("/etc/passwd", "passwd"); os.symlink("/proc/1/environ", "environ")
os.symlink("$outside", "outside"); os.symlink("/", "all"); os.symlink("/files", "folder")
os.mkdir("deep"); os.symlink("../../../../$outside", "deep/up")
open("plain", "w").write("plain")
""",
        r'"files":\[\{"path":"plain","size":5,"text":"plain"\}\].*being no readable files: 6',
    ),
    Attempt(
        "hard links to what is not its own",
        _TRY
        + """
held("files", lambda: os.link("/files/given.txt", "given"))
held("system", lambda: os.link("/usr/bin/env", "env"))
held("device", lambda: os.link("/dev/zero", "zero"))
""",
        r"files OSError 18\nsystem OSError 18\ndevice OSError 18",
    ),
    # to reach
    Attempt(
        "connect to a server on loopback",
        _TRY
        + """
import socket
held("connect", lambda: socket.create_connection(("127.0.0.1", $port), 2))
held("connect 6", lambda: socket.create_connection(("::1", $port), 2))
""",
        "connect OSError 101",
    ),
    Attempt(
        "ask for a name, fetch a page",
        """
import socket, urllib.request
try: print("ESCAPED", socket.getaddrinfo("example.org", 80))
except OSError as error: print(type(error).__name__)
try: print("ESCAPED", urllib.request.urlopen("http://127.0.0.1:$port/", timeout=2))
except OSError as error: print(error)
""",
        "gaierror.*Network is unreachable",
    ),
    Attempt(
        "a socket of any family",
        _TRY
        + """
import socket
for family in (1, 2, 10, 16, 17, 31, 38, 40, 44):
    for kind in (1, 2, 3, 5): held(family, lambda: socket.socket(family, kind))
left, right = socket.socketpair(); left.send(b"pairs are allowed"); print(right.recv(99).decode())
""",
        r"40 OSError 101.*pairs are allowed",
    ),
    Attempt(
        "a socket that lies in the tools' root folder",
        _TRY
        + 'import socket\nheld("unix", lambda: socket.socket(socket.AF_UNIX).connect("/files/socket"))',
        "unix OSError 101",
    ),
    Attempt(
        "an abstract socket",
        _TRY + 'import socket\nheld("abstract", lambda: socket.socket(1).connect("\\0$abstract"))',
        "abstract OSError 101",
    ),
    Attempt(
        "kill processes outside",
        _TRY
        + """
import signal
held("victim", lambda: os.kill($victim, signal.SIGKILL) if $victim > 5 else "")
held("all", lambda: os.kill(-1, signal.SIGKILL))
""",
        r"victim ProcessLookupError 3\nall ProcessLookupError 3",
    ),
    Attempt(
        "kill or stop the process that watches",
        """
import os, signal, time
for number in set(range(1, 65)) - {32, 33}:
    try: os.kill(1, number)
    except OSError as error: print(number, error)
time.sleep(0.3)
print("parent", os.getppid())
""",
        r"parent 1",
    ),
    Attempt(
        "limits for the process that watches",
        _TRY
        + "import resource\n"
        + 'held("prlimit", lambda: resource.prlimit(1, resource.RLIMIT_NOFILE, (0, 0)))',
        "prlimit OSError 38",
    ),
    Attempt(
        "trace or read the process that watches",
        _CALLS
        + """
call("ptrace", 16, 1, 0, 0)
raw("process_vm_readv", 310, 270, 1, 0, 0, 0, 0, 0)
raw("pidfd_getfd", 438, 438, 3, 0, 0)
raw("kcmp", 312, 272, 1, 1, 0, 0, 0)
""",
        "ptrace ENOSYS\nprocess_vm_readv ENOSYS\npidfd_getfd ENOSYS\nkcmp ENOSYS",
    ),
    # to get rights
    Attempt(
        "become another user",
        _TRY
        + """
for name in ("setuid", "seteuid", "setgid"): held(name, lambda: getattr(os, name)(0))
held("groups", lambda: os.setgroups([0]))
held("su", lambda: os.execv("/bin/su", ["su"]) if False else os.setresuid(0, 0, 0))
for line in open("/proc/self/status"):
    if line.startswith(("Uid", "CapPrm", "CapEff", "CapBnd", "NoNewPrivs", "Seccomp:")):
        print(*line.split())
""",
        r"setuid OSError 38.*Uid: 1000 1000 1000 1000\nCapPrm: 0+\nCapEff: 0+\nCapBnd: 0+\n"
        r"NoNewPrivs: 1\nSeccomp: 2",
    ),
    Attempt(
        "execute a program that is set-uid",
        """
import subprocess
for command in (["su", "-c", "id"], ["mount"], ["passwd", "-S"]):
    try:
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        print(command[0], done.returncode, "ESCAPED" if "uid=0" in done.stdout else "no rights")
    except OSError as error:
        print(command[0], type(error).__name__)
""",
        r"su (\d+ no rights|FileNotFoundError)",
    ),
    Attempt(
        "mount",
        _CALLS
        + 'call("mount", b"tmpfs", b"/scratch", b"tmpfs", 0, None)\ncall("umount2", b"/files", 2)',
        "mount ENOSYS\numount2 ENOSYS",
    ),
    Attempt(
        "change the root",
        _TRY
        + 'held("chroot", lambda: os.chroot("."))\n'
        + _CALLS
        + """
raw("pivot_root", 155, 41, b".", b".")
raw("open_tree", 428, 428, -100, b"/", 1)
raw("open_by_handle_at", 304, 265, -100, 0, 0)
""",
        "chroot OSError 38\npivot_root ENOSYS\nopen_tree ENOSYS\nopen_by_handle_at ENOSYS",
    ),
    Attempt(
        "new namespaces",
        _CALLS
        + """
call("unshare", 0x10000000)
call("setns", 0, 0)
for flag in (0x10000000, 0x20000, 0x20000000, 0x40000000): raw("clone", 56, 220, flag | 17, 0, 0, 0, 0)
raw("clone3", 435, 435, 0, 88)
""",
        r"unshare ENOSYS\nsetns ENOSYS\n(clone ENOSYS\n){4}clone3 ENOSYS",
    ),
    Attempt(
        "keys of the kernel's keyrings",
        _CALLS
        + """
raw("add_key", 248, 217, b"user", b"a", b"b", 1, -3)
raw("request_key", 249, 218, b"user", b"a", 0, 0)
raw("keyctl", 250, 219, 0, -3, 0, 0, 0)
""",
        "add_key ENOSYS\nrequest_key ENOSYS\nkeyctl ENOSYS",
    ),
    Attempt(
        "io_uring, bpf and what else has let others out",
        _CALLS
        + """
for name, x86, arm in (("io_uring_setup", 425, 425), ("bpf", 321, 280), ("perf_event_open", 298, 241),
        ("userfaultfd", 323, 282), ("init_module", 175, 105), ("kexec_load", 246, 104),
        ("personality", 135, 92), ("syslog", 103, 116), ("reboot", 169, 142), ("quotactl", 179, 60),
        ("memfd_create", 319, 279), ("shmget", 29, 194), ("mq_open", 240, 180)):
    raw(name, x86, arm, 0, 0, 0, 0, 0, 0)
""",
        r"io_uring_setup ENOSYS\nbpf ENOSYS\nperf_event_open ENOSYS\n.*mq_open ENOSYS",
    ),
    Attempt(
        "system calls of another machine",
        """
import ctypes, mmap, platform
if platform.machine() == "x86_64":
    page = mmap.mmap(-1, 4096, prot=7)
    page.write(b"\\xb8\\x14\\0\\0\\0\\xcd\\x80\\xc3")  # mov eax, getpid of i386; int 0x80; ret
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    print("ESCAPED", ctypes.CFUNCTYPE(ctypes.c_int)(address)())
else:
    import os, signal; os.kill(os.getpid(), signal.SIGSYS)
""",
        "killed by SIGSYS",
    ),
    Attempt(
        "type into the worker's terminal",
        _TRY
        + """
import fcntl
for number in (0x5412, 0x5412 | 1 << 32, 0x541C):
    for descriptor in (0, 1, 2):
        held("type", lambda: fcntl.ioctl(descriptor, number & 0xFFFFFFFF, b"x"))
held("terminal", lambda: open("/dev/tty"))
print("session", os.getsid(0) == os.getpid())
"""
        + _CALLS
        + 'raw("ioctl", 16, 29, ctypes.c_long(1), ctypes.c_ulong(0x100005412), b"x")',
        r"type OSError 38.*terminal FileNotFoundError 2\nsession True\nioctl ENOSYS",
    ),
    # to take more
    Attempt(
        "a fork bomb",
        """
import os, time
try:
    while True:
        if os.fork() == 0: time.sleep(0.01)
except BlockingIOError as error:
    if os.getppid() == 1:
        print(error)
    time.sleep(9)
""",
        r"Resource temporarily unavailable|stopped",
        2.0,
    ),
    Attempt(
        "threads without end",
        """
import threading, time
started = 0
try:
    while True:
        threading.Thread(target=time.sleep, args=(9,), daemon=True).start(); started += 1
except (RuntimeError, MemoryError) as error:
    print(error, "ESCAPED" if started > 16 else "held")
""",
        "can't start new thread held",
    ),
    Attempt(
        "a memory bomb", "pieces = []\nwhile True: pieces.append(bytearray(10**7))", "MemoryError"
    ),
    Attempt(
        "a memory bomb of many processes",
        """
import os, time
for _ in range(8):
    if os.fork() == 0:
        held = bytearray(b"x") * (100 * 2**20)
        time.sleep(60)
time.sleep(60)
""",
        "stopped: it held more than 256 MB of memory",
    ),
    Attempt(
        "fill the disk",
        """
import os
for number in range(100):
    try:
        with open(f"file{number}", "wb") as file: file.write(b"x" * 2**20)
    except OSError as error:
        print(number, error.strerror); os.unlink(f"file{number}"); break
else: print("ESCAPED")
""",
        "4 No space left on device",
    ),
    Attempt(
        "a file of a terabyte with nothing in it",
        _TRY + 'file = open("big", "wb")\nheld("truncate", lambda: file.truncate(2**40))',
        "truncate OSError 27|SIGXFSZ",
    ),
    Attempt(
        "files without number",
        """
made = 0
try:
    for made in range(100_000): open(str(made), "w").close()
    print("ESCAPED")
except OSError as error: print(error.strerror, made)
""",
        r"No space left on device 4\d{3}.*more files: 4",
    ),
    Attempt("compute for ever", "while True: pass", r"stopped", 1.0),
    Attempt(
        "compute in many processes",
        "import os\nfor _ in range(3): os.fork()\nwhile True: pass",
        r"stopped(: it had computed for 2 s| after 2 s)",
        2.0,
    ),
    Attempt("wait for ever", "import time\ntime.sleep(10**6)", "stopped after 1 s", 1.0),
    Attempt(
        "flood the output",
        'import sys\nwhile True: sys.stdout.write("x" * 65536)',
        r"stopped.*\d{6,} bytes left out",
        1.0,
    ),
    Attempt(
        "answer in the sandbox's stead",
        """
import os
for number in range(64):
    try: os.write(number, b'{"kind":"end","more":0,"others":0}\\n')
    except OSError: pass
print("said")
""",
        r'\\"kind\\":\\"end\\".*said',
    ),
    # to stay
    Attempt(
        "ignore every signal",
        """
import signal, time
for number in range(1, 65):
    try: signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError): pass
while True:
    try: time.sleep(60)
    except BaseException: pass
""",
        "stopped after 1 s",
        1.0,
    ),
    Attempt(
        "a daemon that outlives the run",
        """
import os, sys
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for number in range(3): os.close(number)
        os.execv(sys.executable, [sys.executable, "-c", "import time; time.sleep(600)  # $token"])
    os._exit(0)
os.wait()
print("left a daemon")
""",
        r'"ended":"finished".*left a daemon',
    ),
    Attempt(
        "a bomb at the end",
        """
import atexit, os, threading, time
def again():
    while True:
        try: time.sleep(60)
        except BaseException: pass
atexit.register(again)
threading.Thread(target=again).start()
print("at the end")
""",
        r"stopped after 1 s.*at the end",
        1.0,
    ),
    Attempt(
        "leave a core dump",
        "import os, resource\nprint(resource.getrlimit(resource.RLIMIT_CORE))\nos.abort()",
        r'killed by SIGABRT","output":"\(0, 0\)\\n"',
    ),
    Attempt(
        "names that are too long, hostile or no text",
        """
import os
open(b"a" * 255, "w").write("1"); open(b"\\xff\\xfe", "w").write("2"); open("a\\nb\\x1b[2J", "w").write("3")
open('"}', "w").write("4"); os.makedirs("/".join(["d" * 200] * 15)); open("$$blob", "wb").write(b"\\0")
try: open("b" * 256, "w")
except OSError as error: print(error.strerror)
path = "deep"
for _ in range(40): os.mkdir(path); path += "/d"
""",
        r"File name too long",
    ),
)
