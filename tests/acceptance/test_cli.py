"""The `galerne` command as people and scripts meet it: real processes, codes, stdout, stderr."""

import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from galerne.cli.text import clean

PATIENCE = 60.0
"""Seconds until something that never comes fails the test."""
GOAL = "Count the words in one.txt and in docs/two.txt, then say which is longer"


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "galerne", *arguments]


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GALERNE_")}
    return {**kept, "NO_COLOR": "1", **more}


def galerne(*arguments: str, cwd: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command(*arguments),
        cwd=cwd,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def until(condition: Callable[[], Any], what: str) -> Any:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"it never came: {what}")


def refused(done: "subprocess.CompletedProcess[str]", code: int) -> str:
    """The one line on stderr of a command that printed nothing else."""
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("galerne: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


@contextmanager
def started(*arguments: str, cwd: Path, **variables: str) -> Generator["subprocess.Popen[str]"]:
    """A command that goes on; its stderr lies in `stderr` in `cwd`."""
    with (cwd / "stderr").open("w") as errors:
        process = subprocess.Popen(
            command(*arguments),
            cwd=cwd,
            env=environment(**variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(PATIENCE)
                except subprocess.TimeoutExpired:
                    process.kill()


def first_line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working folder with text to work on."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "one.txt").write_text("alpha beta gamma\n")
    (tmp_path / "docs" / "two.txt").write_text("one two three\nfour five\n")
    return tmp_path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a stand-in model server."""
    with started("stand-in", "--port", "0", cwd=tmp_path_factory.mktemp("stand-in")) as process:
        line = first_line(process)
        assert line.endswith("rule-based, no LLM")
        yield line.split()[0]


# what is wrong is said in one line


def test_no_server_is_3_and_says_what_to_do(folder: Path) -> None:
    assert "galerne up" in refused(galerne("jobs", cwd=folder), 3)
    tried = refused(galerne("jobs", "--json", "--server", "nats://127.0.0.1:1", cwd=folder), 3)
    assert "nats://127.0.0.1:1" in tried


def test_bad_settings_are_2(folder: Path) -> None:
    (folder / "galerne.toml").write_text("[bus\n")
    assert "galerne.toml is not valid TOML" in refused(galerne("jobs", cwd=folder), 2)
    (folder / "galerne.toml").write_text("[bus]\nsevrer = 'x'\n")
    assert "sevrer" in refused(galerne("jobs", cwd=folder), 2)
    (folder / "galerne.toml").unlink()
    assert "sevrer" in refused(galerne("jobs", cwd=folder, GALERNE_BUS_SEVRER="x"), 2)


def test_an_unknown_flag_is_2(folder: Path) -> None:
    assert "--bogus" in refused(galerne("run", "x", "--bogus", cwd=folder), 2)


def test_an_endpoint_that_refuses_is_found_before_anything_starts(folder: Path) -> None:
    said = refused(galerne("run", GOAL, "--endpoint", "http://127.0.0.1:1", cwd=folder), 3)
    assert "http://127.0.0.1:1" in said
    assert refused(galerne("plan", GOAL, "--endpoint", "http://127.0.0.1:1", cwd=folder), 3)


def test_a_job_over_the_limit_is_2(folder: Path) -> None:
    """Before anything is sent: no server is asked."""
    (folder / "long.txt").write_text("x" * 3_000_000)
    (folder / "galerne.toml").write_text("[bus]\nmax_blob = 2_000_000\n")
    done = galerne("submit", "x", "--input", "text=@long.txt", cwd=folder)
    assert "limit" in refused(done, 2)


# one job


def test_run_gives_the_true_numbers(folder: Path, model: str) -> None:
    done = galerne("run", GOAL, "--endpoint", model, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "one.txt has 3 words" in done.stdout
    assert "docs/two.txt has 5 words" in done.stdout
    assert "docs/two.txt is longer than one.txt: 5 words against 3" in done.stdout
    assert done.stderr.splitlines()[0].startswith(f"galerne: using mixtral-8x22b at {model}")
    assert "Traceback" not in done.stderr


def test_json_is_one_document_and_nothing_else(folder: Path, model: str) -> None:
    done = galerne("run", GOAL, "--endpoint", model, "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    view = json.loads(done.stdout)
    assert view["status"] == "succeeded"
    assert "5 words against 3" in view["result"]
    assert {task["status"] for task in view["tasks"]} == {"succeeded"}
    kinds = [task["kind"] for task in view["tasks"]]
    assert (kinds[0], kinds[-1]) == ("plan", "answer")


def test_a_failed_job_is_1_and_its_reason_is_told(folder: Path, model: str) -> None:
    goal = "Count the words in ../../etc/passwd"
    done = galerne("run", goal, "--endpoint", model, "--json", cwd=folder)
    assert done.returncode == 1
    assert json.loads(done.stdout)["status"] == "failed"
    assert re.search(r"^galerne: job j-\w+ failed: ", done.stderr.splitlines()[-1])


def test_run_needs_nothing_at_all(folder: Path) -> None:
    with suppress(OSError), socket.create_connection(("127.0.0.1", 11434), 0.3):
        pytest.skip("something listens on Ollama's port here, so that would be used")
    done = galerne("run", GOAL, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "5 words against 3" in done.stdout
    assert done.stderr.splitlines()[0] == (
        "galerne: no model endpoint configured: using the stand-in model server"
        " (rule-based, no LLM)"
    )
    assert sorted(path.name for path in folder.iterdir()) == ["docs", "one.txt"]


def test_plan_prints_tasks_and_carries_nothing_out(folder: Path, model: str) -> None:
    done = galerne("plan", GOAL, "--endpoint", model, "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert len(plan["tasks"]) == 3
    for task in plan["tasks"]:
        assert {"id", "kind", "instruction", "needs"} <= task.keys()
    assert plan["tasks"][2]["needs"] == [plan["tasks"][0]["id"], plan["tasks"][1]["id"]]
    assert plan["rejected"] == []
    expected = plan["estimate"]["total"]["usd"]
    assert 0 < expected["lower"] < expected["expected"] < expected["upper"]
    assert set(plan["estimate"]["models"]) >= {"mistral-7b", "mixtral-8x22b"}
    table = galerne("plan", GOAL, "--endpoint", model, cwd=folder).stdout
    assert "before anything is spent" in table
    assert max(map(len, table.splitlines())) <= 80
    assert "3 tasks" in table


def test_plan_writes_the_plan_to_a_file_for_a_person_to_change(folder: Path, model: str) -> None:
    done = galerne("plan", GOAL, "--endpoint", model, "--out", "plan.json", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    written = json.loads((folder / "plan.json").read_text())
    assert written == {"goal": GOAL, "tasks": json.loads(done.stdout)["tasks"]}
    refused(galerne("plan", GOAL, "--endpoint", model, "--out", "no/plan.json", cwd=folder), 2)


def test_on_a_terminal_run_draws_a_tree(folder: Path, model: str) -> None:
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        command("run", GOAL, "--endpoint", model),
        cwd=folder,
        env=environment(TERM="xterm", COLUMNS="80", LINES="24"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=terminal,
        text=True,
    )
    os.close(terminal)
    drawn = b""
    with process, open(controller, "rb", buffering=0) as screen:  # noqa: PTH123 - a descriptor
        while process.poll() is None or select.select([screen], [], [], 0)[0]:
            if select.select([screen], [], [], 0.1)[0]:
                try:
                    drawn += screen.read(65536)
                except OSError:  # the terminal's last user has gone
                    break
        answer = process.communicate(timeout=PATIENCE)[0]
    assert process.returncode == 0
    assert "5 words against 3" in answer
    text = clean(drawn.decode())
    assert re.search(r"✓ answer +answer +writes the answer", text)
    assert re.search(r"✓ succeeded · \d of \d tasks", text)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_ends_at_once_and_leaves_nothing(
    folder: Path, number: signal.Signals, code: int
) -> None:
    (folder / "slow").mkdir()
    slow = started("stand-in", "--port", "0", "--latency", "30", cwd=folder / "slow")
    with slow as server:
        url = first_line(server).split()[0]
        with started("run", GOAL, "--endpoint", url, cwd=folder) as process:
            errors = folder / "stderr"
            until(lambda: "plan-1 runs on" in errors.read_text(), "the job's start")
            children = children_of(process.pid)
            assert children
            process.send_signal(number)
            assert process.wait(PATIENCE) == code
            assert "Traceback" not in errors.read_text()
            until(lambda: not any(map(alive, children)), "the end of its processes")


def test_nobody_reading_stdout_is_no_drama(folder: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        command("--version"),
        cwd=folder,
        env=environment(),
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    os.close(writer)
    assert done.returncode == 141
    assert done.stderr == ""


# a fleet


def children_of(pid: int) -> list[int]:
    """The processes that `pid` has started and that live."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in found.split()]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def gone(pid: int) -> bool:
    return not alive(pid)


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def child_named(parent: int, what: str) -> int:
    """The one child whose command holds `what`; the first of several."""
    found: int = until(
        lambda: next((pid for pid in children_of(parent) if what in command_of(pid)), None), what
    )
    return found


linux_only = pytest.mark.skipif(not Path("/proc/self").exists(), reason="it reads /proc")


@pytest.mark.slow
@linux_only
def test_a_local_fleet_from_beginning_to_end(folder: Path, model: str) -> None:
    up = ("up", "--endpoint", model, "--executors", "1", "--coordinators", "1")
    with started(*up, cwd=folder) as fleet:
        server = first_line(fleet)
        assert re.fullmatch(r"nats://127\.0\.0\.1:\d+", server)

        done = galerne("submit", GOAL, "--wait", "--server", server, cwd=folder)
        assert done.returncode == 0, done.stderr
        assert "5 words against 3" in done.stdout

        job = galerne("submit", GOAL, "--key", "k", cwd=folder, GALERNE_SERVER=server)
        same = galerne("submit", GOAL, "--key", "k", "--json", "--server", server, cwd=folder)
        assert json.loads(same.stdout) == {"job": job.stdout.strip()}
        name = job.stdout.strip()

        watched = galerne("watch", name, "--json", "--server", server, cwd=folder)
        assert watched.returncode == 0, watched.stderr
        assert json.loads(watched.stdout)["status"] == "succeeded"
        shown = galerne("show", name, "--server", server, cwd=folder).stdout
        assert "✓ answer" in shown
        assert "5 words against 3" in shown
        listed = json.loads(galerne("jobs", "--json", "--server", server, cwd=folder).stdout)
        assert [entry["status"] for entry in listed] == ["succeeded", "succeeded"]
        assert listed[0]["id"] == name
        assert "has succeeded" in refused(
            galerne("cancel", name, "--server", server, cwd=folder), 1
        )
        assert "no job nobody" in refused(
            galerne("watch", "nobody", "--server", server, cwd=folder), 1
        )

        for what in ("worker executor", "worker coordinator", "nats-server"):
            victim = child_named(fleet.pid, what)
            os.kill(victim, signal.SIGKILL)
            until(partial(gone, victim), "its end")
            assert child_named(fleet.pid, what) != victim
        again = galerne("submit", GOAL, "--wait", "--server", server, cwd=folder)
        assert again.returncode == 0, again.stderr
        assert "is started again" in (folder / "stderr").read_text()

        assert "another `galerne up`" in galerne(*up, cwd=folder).stderr
        children = children_of(fleet.pid)
        fleet.terminate()
        assert fleet.wait(PATIENCE) == 0
        assert not any(map(alive, children))

    with started(*up, cwd=folder) as fleet:  # what was done is still known
        server = first_line(fleet)
        kept = galerne("show", name, "--json", "--server", server, cwd=folder)
        assert json.loads(kept.stdout)["status"] == "succeeded"
        children = [child_named(fleet.pid, f"worker {role}") for role in ("planner", "executor")]
        fleet.kill()
        until(lambda: not any(map(alive, children)), "the end of orphaned workers")


@linux_only
def test_a_worker_without_a_usable_setting_stops_the_fleet(folder: Path, model: str) -> None:
    (folder / "a-file").write_text("")
    up = ("up", "--endpoint", model, "--root", "no/such/folder")
    with started(*up, cwd=folder) as fleet:
        assert first_line(fleet)
        assert fleet.wait(PATIENCE) == 2
    last = (folder / "stderr").read_text().splitlines()[-1]
    assert last.startswith("galerne: tools 1 ended with code 2")
    assert "no/such/folder" in last


def test_a_worker_drains_and_ends_with_0(folder: Path, model: str) -> None:
    up = ("up", "--endpoint", model, "--executors", "1", "--coordinators", "1")
    with started(*up, cwd=folder) as fleet:
        server = first_line(fleet)
        (folder / "worker").mkdir()
        worker = started(
            "worker", "executor", "--server", server, "--endpoint", model, cwd=folder / "worker"
        )
        with worker as process:
            errors = folder / "worker" / "stderr"
            until(lambda: "serving" in errors.read_text(), "a worker that serves")
            process.terminate()
            assert process.wait(PATIENCE) == 0
            last = json.loads(errors.read_text().splitlines()[-1])
            assert (last["event"], last["role"]) == ("drained", "executor")
