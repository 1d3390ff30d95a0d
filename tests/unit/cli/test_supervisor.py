"""Supervision: the decision after a death is a function; the rest is tried with real processes."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galerne.runtime.supervisor import (
    ChildFailedError,
    GiveUp,
    Policy,
    ProcessChild,
    Record,
    Restart,
    Supervisor,
    after_death,
    parent_gone,
)

POLICY = Policy()


def deaths(lived: float, count: int, code: int = 1) -> list[Restart | GiveUp]:
    record = Record()
    decisions: list[Restart | GiveUp] = []
    for _ in range(count):
        record, decision = after_death(POLICY, record, lived, code, 0.0)
        decisions.append(decision)
    return decisions


def test_the_pause_doubles_up_to_its_limit() -> None:
    pauses = [decision.pause for decision in deaths(3.0, 7) if isinstance(decision, Restart)]
    assert pauses == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


def test_a_healthy_life_makes_the_pause_short_again() -> None:
    record = Record(quick_deaths=3, pause=3.2)
    assert after_death(POLICY, record, 10.0, -9, 0.0) == (Record(0, 0.2), Restart(0.2))


def test_five_quick_deaths_in_a_row_are_enough() -> None:
    decisions = deaths(0.3, 5)
    assert all(isinstance(decision, Restart) for decision in decisions[:4])
    assert decisions[4] == GiveUp("died 5 times in a row within 1 s")


def test_a_longer_life_in_between_starts_the_count_anew() -> None:
    record = Record(quick_deaths=4, pause=1.6)
    record, decision = after_death(POLICY, record, 2.0, 1, 0.0)
    assert (record.quick_deaths, decision) == (0, Restart(3.2))


def test_a_wrong_setting_is_not_tried_again() -> None:
    assert isinstance(deaths(0.3, 1, code=2)[0], GiveUp)
    assert isinstance(deaths(60.0, 1, code=2)[0], Restart)


@given(
    st.builds(Record, st.integers(0, 4), st.floats(0, 5)),
    st.floats(0, 1e5),
    st.integers(-64, 255),
    st.floats(0, 1, exclude_max=True),
)
def test_every_pause_is_within_its_bounds(
    record: Record, lived: float, code: int, jitter: float
) -> None:
    after, decision = after_death(POLICY, record, lived, code, jitter)
    assert after.quick_deaths <= POLICY.limit
    if isinstance(decision, Restart):
        assert POLICY.first_pause / 2 <= decision.pause <= POLICY.longest_pause or record.pause > 0
        assert decision.pause <= POLICY.longest_pause


def python(name: str, code: str, said: list[str]) -> ProcessChild:
    return ProcessChild(name, [sys.executable, "-c", code], os.environ, said.append)


SLEEPER = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (print("goodbye", file=sys.stderr), sys.exit(0)))
print(os.getpid(), file=sys.stderr, flush=True)
time.sleep(60)
"""


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(30):
        while not condition():
            await anyio.sleep(0.01)


@pytest.mark.anyio
async def test_a_killed_child_comes_back_and_a_stop_is_orderly() -> None:
    said: list[str] = []
    stop = anyio.Event()
    supervisor = Supervisor(Policy(first_pause=0.01, quick=0.0), jitter=lambda: 0.0)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(supervisor.run, [python("sleeper", SLEEPER, said)], stop, 20.0)
        await until(lambda: len(said) == 1)
        os.kill(int(said[0]), signal.SIGKILL)
        await until(lambda: len(said) == 2)
        stop.set()
    assert said[0] != said[1]
    assert said[2] == "goodbye"
    with pytest.raises(ProcessLookupError):
        os.kill(int(said[1]), 0)


@pytest.mark.anyio
async def test_who_does_not_go_is_killed() -> None:
    said: list[str] = []
    stop = anyio.Event()
    stubborn = SLEEPER.replace("lambda *_: (print", "lambda *_: () and (print")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(Supervisor().run, [python("stubborn", stubborn, said)], stop, 0.2)
        await until(lambda: len(said) == 1)
        stop.set()
    with pytest.raises(ProcessLookupError):
        os.kill(int(said[0]), 0)


@pytest.mark.anyio
async def test_a_cancelled_supervisor_does_not_wait_for_anybody() -> None:
    said: list[str] = []
    stop = anyio.Event()
    stubborn = SLEEPER.replace("lambda *_: (print", "lambda *_: () and (print")
    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(Supervisor().run, [python("stubborn", stubborn, said)], stop, 1000.0)
            await until(lambda: len(said) == 1)
            stop.set()
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
    with pytest.raises(ProcessLookupError):
        os.kill(int(said[0]), 0)


@pytest.mark.anyio
async def test_a_hopeless_child_ends_the_others_and_its_last_words_are_told() -> None:
    said: list[str] = []
    broken = "import sys; print('the setting is wrong', file=sys.stderr); sys.exit(2)"
    with pytest.raises(ChildFailedError, match=r"broken .*: the setting is wrong") as raised:
        await Supervisor().run(
            [python("sleeper", SLEEPER, said), python("broken", broken, [])], anyio.Event(), 20.0
        )
    assert raised.value.exit_code == 2
    for line in said:
        if line.isdecimal():
            with pytest.raises(ProcessLookupError):
                os.kill(int(line), 0)


@pytest.mark.anyio
async def test_a_command_that_cannot_start_is_given_up(tmp_path: Path) -> None:
    child = ProcessChild("absent", [str(tmp_path / "absent")], {}, print)
    supervisor = Supervisor(Policy(first_pause=0.01, limit=2), jitter=lambda: 0.0)
    with pytest.raises(ChildFailedError, match="absent died 2 times in a row"):
        await supervisor.run([child], anyio.Event(), 1.0)


@pytest.mark.anyio
async def test_a_process_notices_that_its_parent_is_another() -> None:
    with anyio.fail_after(10):
        await parent_gone(os.getpid(), every=0.01)
    with anyio.move_on_after(0.05) as limit:
        await parent_gone(os.getppid(), every=0.01)
    assert limit.cancelled_caught
