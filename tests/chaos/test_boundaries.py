"""The registry of boundaries and the code agree, and nothing armed costs next to nothing."""

import ast
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

import galerne.faults
from chaos.matrix import full_form, long_form, short_form
from chaos.stopping import VARIABLE as STOP
from galerne.errors import InvalidSettingsError
from galerne.faults import POINTS, arm, arm_from, reach
from galerne.messages.facts import AnyFact

SOURCES = Path(galerne.faults.__file__).parent
STARS = {
    "publish.*": [str(fact.__struct_config__.tag) for fact in get_args(AnyFact)],
    "ack.*": ["submit", "command", "part", "lane"],
    "retry.*": ["submit", "lane"],
    "discard.*": ["lane"],
}
"""What stands for the star. A command waits in its process, a fact goes back to its queue only
where the server cannot quarantine it, and only a lane's message is ever discarded."""


def reached() -> Iterator[str]:
    """Every boundary in the code, with its star replaced by all that can stand for it."""
    for path in SOURCES.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
                continue
            if node.func.id != "reach" or path.name == "faults.py":
                continue
            (point, *_) = node.args
            assert isinstance(point, ast.Constant), f"{path}:{node.lineno}: a name is no literal"
            assert isinstance(point.value, str)
            stem, star, moment = point.value.partition("*")
            for name in STARS[f"{stem}*"] if star else [""]:
                yield f"{stem}{name}{moment}"


def test_every_boundary_in_the_code_is_registered() -> None:
    assert sorted(set(reached()) - POINTS.keys()) == []


def test_every_registered_boundary_is_in_the_code() -> None:
    assert sorted(POINTS.keys() - set(reached())) == []


def test_every_boundary_says_what_it_is_and_who_comes_by() -> None:
    for point in POINTS.values():
        assert point.what
        assert point.roles


def test_the_short_form_has_every_boundary_and_the_full_form_every_role() -> None:
    assert {cell.point for cell in short_form()} == POINTS.keys()
    wanted = {(name, role) for name, point in POINTS.items() for role in point.roles}
    for form in (full_form(), long_form()):
        assert {(cell.point, cell.role) for cell in form} == wanted
        assert len({cell.name for cell in form}) == len(form)


def test_nothing_armed_does_nothing_and_asks_for_no_name() -> None:
    def name() -> str:
        raise AssertionError("a name was built for nobody")

    reach("publish.*.before", name)


def test_what_is_armed_gets_whole_names() -> None:
    heard: list[str] = []
    arm(heard.append)
    try:
        reach("publish.*.before", lambda: "done")
        reach("spool.synced")
    finally:
        arm(None)
    reach("spool.synced")
    assert heard == ["publish.done.before", "spool.synced"]


DYING = """
import os
from galerne.faults import arm_from, reach
arm_from(os.environ)
for number in range(5):
    print(number, flush=True)
    reach("spool.synced")
"""


def _run(mark: Path) -> subprocess.CompletedProcess[str]:
    environ = dict(os.environ) | {"GALERNE_FAULT": f"spool.synced:3:{mark}"}
    return subprocess.run(
        [sys.executable, "-c", DYING], env=environ, capture_output=True, text=True, check=False
    )


def test_a_process_dies_where_it_is_told_to_once(tmp_path: Path) -> None:
    mark = tmp_path / "reached"
    first = _run(mark)
    assert (first.returncode, first.stdout.split()) == (-signal.SIGKILL, ["0", "1", "2"])
    assert mark.exists()
    second = _run(mark)
    assert (second.returncode, second.stdout.split()) == (0, ["0", "1", "2", "3", "4"])


def test_a_process_stops_where_it_is_told_to_and_goes_on(tmp_path: Path) -> None:
    mark = tmp_path / "reached"
    program = DYING.replace("galerne.faults import arm_from, reach", "galerne.faults import reach")
    program = f"from chaos.stopping import arm_from\n{program}"
    path = os.pathsep.join((str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")))
    environ = dict(os.environ) | {STOP: f"spool.synced:3:{mark}", "PYTHONPATH": path}
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as process:
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        assert mark.exists()
        process.send_signal(signal.SIGCONT)
        said, _ = process.communicate(timeout=30)
    assert (process.returncode, said.split()) == (0, ["0", "1", "2", "3", "4"])


@pytest.mark.parametrize(
    "wanted", ["spool.synced", "spool.synced:x:f", "spool.synced:0:f", ":1:f", "nowhere:1:f"]
)
def test_a_fault_that_cannot_be_is_refused(wanted: str) -> None:
    with pytest.raises(InvalidSettingsError, match="GALERNE_FAULT"):
        arm_from({"GALERNE_FAULT": wanted})
