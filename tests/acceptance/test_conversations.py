"""A conversation over separate processes, one of which dies where it matters."""

import json
from pathlib import Path

import anyio
import pytest

from acceptance.fleet import Fleet, fleet

pytestmark = pytest.mark.anyio

SAID = """\
README.md has 3 words.
LICENSE has 5 words.
"""


async def asked(running: Fleet, goal: str) -> str:
    """The answer that the command prints."""
    code, answer, told = await running.command("submit", "--wait", "--session", "readme", goal)
    assert code == 0, told
    return answer


async def gone(running: Fleet, name: str) -> None:
    with anyio.fail_after(30):
        while running.alive(name):
            await anyio.sleep(0.05)


@pytest.mark.timeout(120)
async def test_a_follow_up_is_understood_whoever_has_died(tmp_path: Path) -> None:
    """The first coordinator is killed -9 between the turn and the end of its job."""
    mark = tmp_path / "reached"
    async with fleet(tmp_path, "planner-1", "executor-1", "tools-1") as running:
        (running.files / "README.md").write_text("one two three")
        (running.files / "LICENSE").write_text("one two three four five")
        running.start_worker("coordinator-1", GALERNE_FAULT=f"publish.ended.before:1:{mark}")
        await running.serving("coordinator-1")
        answers: list[str] = []

        async def ask() -> None:
            answers.append(await asked(running, "Count the words in README.md and LICENSE"))

        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ask)
                await gone(running, "coordinator-1")
                assert mark.exists()
                running.start_worker("coordinator-2")
        assert answers[0].startswith(SAID)

        longer = await asked(running, "Which of them is longer?")
        assert longer.startswith(f"{SAID}LICENSE is longer than README.md: 5 words against 3.\n")
        total = await asked(running, "And what is their total?")
        assert "The total of README.md and LICENSE is 8 words." in total

        code, listed, _ = await running.command("sessions", "--json")
        assert code == 0
        assert [(one["name"], one["turns"]) for one in json.loads(listed)] == [("readme", 3)]
        code, shown, _ = await running.command("session", "show", "readme")
        assert code == 0
        assert [line for line in shown.splitlines() if line.startswith("> ")] == [
            "> Count the words in README.md and LICENSE",
            "> Which of them is longer?",
            "> And what is their total?",
        ]
        code, _, told = await running.command("session", "forget", "readme")
        assert (code, told) == (0, "galerne: session readme is forgotten, with 3 turns\n")
        code, _, told = await running.command("session", "show", "readme")
        assert code == 1
        assert "no session readme" in told
        code, _, told = await running.command(
            "submit", "--wait", "--session", "readme", "Which of them is longer?"
        )
        assert code == 1, "nothing is left to compare"
        assert "there are no numbers in the results to work on" in told


async def test_a_session_needs_a_fleet_that_stays(tmp_path: Path) -> None:
    running = Fleet(tmp_path)
    code, _, told = await running.command("run", "--session", "readme", "Count to three")
    assert code == 2
    assert "the fleet that `galerne run` starts ends with it" in told
    code, _, told = await running.command("submit", "--session", "my talk", "Count to three")
    assert code == 2
    assert "the session 'my talk' is not usable" in told
