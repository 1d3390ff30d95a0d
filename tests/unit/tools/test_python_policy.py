"""What the sandbox shows and how it is asked for, as data: no sandbox is made here."""

import contextlib
import shlex
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galerne.errors import InvalidSettingsError, ToolError
from galerne.settings import PythonSettings
from galerne_tools.python import policy
from galerne_tools.python.frames import File, Order, Ran, order_bytes, read_frame
from galerne_tools.python.inside.watch import Kept
from galerne_tools.python.running import Run
from galerne_tools.python.syscalls import ALLOWED, ANSWERS, CONDITIONAL, build_filter
from galerne_tools.python.tool import describe

HOST = policy.Host(
    shown=("/usr", "/etc/ld.so.cache"),
    links=(("usr/bin", "/bin"), ("usr/lib", "/lib")),
    is_root=False,
)
PYTHON = policy.Interpreter("/opt/py/bin/python3", ("/opt/py", "/usr", "/opt/py/lib"))
PACKAGE = "/srv/galerne/tools/galerne_tools/python/inside"
VIEW = policy.view_of(HOST, PYTHON, "/data/texts", PACKAGE)
ORDER = Order(
    interpreter="/opt/py/bin/python3",
    become=None,
    seconds=1.0,
    memory=2**28,
    processes=8,
    output=100,
    scratch=1000,
)

DANGEROUS = """
    add_key bpf chroot clone3 init_module io_uring_setup ioperm kexec_load keyctl memfd_create
    mount mount_setattr mq_open open_by_handle_at perf_event_open personality pidfd_getfd
    pivot_root process_vm_readv ptrace quotactl reboot seccomp setns setuid shmget socket syslog
    umount2 unshare userfaultfd bind connect listen accept mknod mknodat setresuid capset acct
    swapon
"""


def bubblewrap(*, root: bool) -> list[str]:
    return policy.bubblewrap_command("/usr/bin/bwrap", VIEW, PYTHON, root=root)


def unshare(*, root: bool) -> list[str]:
    return policy.unshare_command("/usr/bin/unshare", VIEW, PYTHON, PACKAGE, root=root)


def test_only_what_is_needed_is_shown_and_each_once() -> None:
    assert dict(VIEW.shown) == {
        "/usr": "/usr",
        "/etc/ld.so.cache": "/etc/ld.so.cache",
        "/opt/py": "/opt/py",
        "/data/texts": "/files",
        PACKAGE: "/sandbox/galerne_tools/python/inside",
    }
    assert VIEW.devices == ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
    assert ("/scratch", "/tmp") in VIEW.links


def test_a_link_gives_way_to_what_lies_below_it() -> None:
    view = policy.view_of(HOST, policy.Interpreter("/tmp/v/bin/python", ("/tmp/v",)), "/r", PACKAGE)
    assert ("/scratch", "/tmp") not in view.links
    assert ("/tmp/v", "/tmp/v") in view.shown


@pytest.mark.parametrize("root", ["/", "/srv"])
def test_what_would_show_everything_is_refused(root: str) -> None:
    folders = ("/",) if root != "/" else ("/usr",)
    with pytest.raises(InvalidSettingsError):
        policy.view_of(HOST, policy.Interpreter("/bin/python", folders), root, PACKAGE)


def test_bubblewrap_binds_nothing_that_can_be_written_to_but_devices() -> None:
    command = bubblewrap(root=False)
    before = command[: command.index("--")]
    assert "--bind" not in before
    assert [right for left, right in pairwise(before) if left == "--dev-bind"] == list(VIEW.devices)
    assert before.index("--remount-ro") > before.index("--proc")
    for flag in ("--unshare-net", "--unshare-pid", "--die-with-parent", "--clearenv", "--as-pid-1"):
        assert flag in before


def test_root_keeps_only_what_it_needs_to_become_another() -> None:
    command = bubblewrap(root=True)
    added = [right for left, right in pairwise(command) if left == "--cap-add"]
    assert added == ["CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP"]
    assert "--unshare-user" not in command
    assert "--unshare-user" in bubblewrap(root=False)
    assert "--cap-add" not in bubblewrap(root=False)


def test_unshare_gets_the_view_as_one_argument() -> None:
    command = unshare(root=False)
    assert msgspec.json.decode(command[-1], type=policy.View) == VIEW
    assert command[-2] == "/srv/galerne/tools"
    assert {"--user", "--keep-caps"} <= set(command)
    assert "--user" not in unshare(root=True)
    assert {"--net", "--pid", "--mount", "--ipc", "--uts", "--kill-child"} <= set(command)


@given(st.text(min_size=1).map(lambda name: f"/{name}").filter(lambda path: path.strip("/")))
def test_a_folder_of_any_name_stays_one_argument(root: str) -> None:
    view = policy.view_of(HOST, PYTHON, root, PACKAGE)
    command = policy.bubblewrap_command("bwrap", view, PYTHON, root=False)
    at = command.index(root)
    assert command[at - 1 : at + 2] == ["--ro-bind", root, "/files"]
    assert shlex.split(shlex.join(command)) == command


# the filter


def test_the_filter_is_a_program_for_this_kernel() -> None:
    program = build_filter()
    assert len(program) % 8 == 0
    assert 0 < len(program) // 8 < 4096, "more instructions than the kernel takes"
    assert build_filter() == program


@pytest.mark.parametrize(
    "name",
    DANGEROUS.split(),
)
def test_a_dangerous_call_is_not_allowed(name: str) -> None:
    assert name not in ALLOWED
    assert name not in {rule.name for rule in CONDITIONAL}


def test_no_rule_says_two_things_of_a_call() -> None:
    assert not {rule.name for rule in CONDITIONAL} & ALLOWED
    assert not set(ANSWERS) & ALLOWED


# frames


def test_an_order_is_read_by_its_lengths() -> None:
    line, _, rest = order_bytes(ORDER, b"filter\n", b"print()\n").partition(b"\n")
    order = msgspec.json.decode(line, type=Order)
    assert (order.filter, order.code) == (7, 8)
    assert rest == b"filter\nprint()\n"


@given(st.binary(max_size=200))
def test_any_line_is_a_frame_or_refused(line: bytes) -> None:
    with contextlib.suppress(ToolError):
        frame = read_frame(line, ORDER)
        assert msgspec.json.decode(line) == msgspec.to_builtins(frame)


@pytest.mark.parametrize(
    "frame",
    [
        Ran("exit", 0, (60, 60, 0), (0, 0, 0)),
        Ran("exit", 0, (0, 0, 0), (2**60, 0, 0)),
        File("name", 10, 1001),
        File("name", 10, 2**62),
    ],
)
def test_lengths_above_the_limits_are_refused_before_anything_is_read(frame: Ran | File) -> None:
    with pytest.raises(ToolError):
        read_frame(msgspec.json.encode(frame), ORDER)


@given(st.lists(st.binary(max_size=40), max_size=12), st.integers(2, 60).map(lambda n: n * 2))
def test_beginning_and_end_of_a_stream_are_kept(pieces: list[bytes], most: int) -> None:
    kept = Kept(most)
    for piece in pieces:
        kept.add(piece)
    whole = b"".join(pieces)
    head, tail, missing = kept.parts()
    assert len(head) + len(tail) <= most
    assert len(head) + len(tail) + missing == len(whole)
    assert whole.startswith(head)
    assert whole.endswith(tail)
    assert missing == 0 or len(head) + len(tail) == most


# what a model reads


@pytest.mark.parametrize(
    ("why", "number", "said"),
    [
        ("exit", 0, "finished"),
        ("exit", 2, "failed with exit status 2"),
        ("signal", 11, "killed by SIGSEGV"),
        ("signal", 63, "killed by signal 63"),
        ("seconds", 0, "stopped after 3 s, not finished; it may have 10 s"),
        ("cpu", 0, "stopped: it had computed for 3 s in all its processes together"),
        ("memory", 0, "stopped: it held more than 512 MB of memory"),
        ("what the code has invented", 0, "stopped"),
    ],
)
def test_how_it_ended(why: str, number: int, said: str) -> None:
    run = Run(why, number, (b"out", b"", 0), (b"", b"", 0), 0, 0)
    assert describe(run, [], 3.0, PythonSettings()).ended == said


def test_what_is_left_out_is_told_where_it_is_missing() -> None:
    run = Run("exit", 0, (b"begin", b"end", 12), (b"\x1b[2J\xff\r\n", b"", 0), 3, 1)
    value = describe(run, [], 3.0, PythonSettings())
    assert value.output == "begin\n[… 12 bytes left out …]\nend"
    assert value.errors == "\ufffd[2J\ufffd\n"
    assert value.note == (
        "left, but not kept, more files: 3; left, but not kept, being no readable files: 1"
    )
