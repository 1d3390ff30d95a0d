"""`galerne replay`: lines, codes and documents; `export` and `purge` on a bad command line."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from galerne.cli.main import main

HISTORIES = Path(__file__).parents[2] / "contract" / "histories"
DIAMOND = HISTORIES / "diamond.jsonl"


@pytest.fixture
def changed(tmp_path: Path) -> Path:
    """A history in which task 4 has another priority than its job."""
    path = tmp_path / "changed.jsonl"
    text = DIAMOND.read_text()
    path.write_text(
        "".join(
            line.replace("ready.executor.high.4", "ready.executor.low.4").replace(
                '"priority":"high"', '"priority":"low"'
            )
            if "ready.executor.high.4" in line
            else line
            for line in text.splitlines(keepends=True)
        )
    )
    assert path.read_text() != text
    return path


def test_no_difference_is_0_and_says_so_on_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(DIAMOND), str(HISTORIES / "simple.jsonl")]) == 0
    printed = capfd.readouterr()
    assert printed.out == ""
    assert printed.err.count("no difference") == 2


def test_a_difference_is_one_line_and_1(changed: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(DIAMOND), str(changed)]) == 1
    [line] = capfd.readouterr().out.splitlines()
    assert line.startswith(f"{changed}: after ")
    assert " done.3: today's code writes ready.executor.high.4 where the recording has" in line


def test_as_json(changed: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", "--json", str(DIAMOND), str(changed)]) == 1
    same, other = json.loads(capfd.readouterr().out)
    assert (same["job"], same["differences"]) == ("job", [])
    [difference] = other["differences"]
    assert difference["difference"]["today"] == "ready.executor.high.4"
    assert difference["difference"]["recorded"] == "ready.executor.low.4"
    assert difference["text"].startswith("after ")


def test_show_draws_the_tree(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", "--show", str(DIAMOND)]) == 0
    drawn = capfd.readouterr().out
    assert "do 3" in drawn
    assert "succeeded · 6 of 6 tasks" in drawn


def test_show_as_json(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", "--show", "--json", str(DIAMOND)]) == 0
    [view] = json.loads(capfd.readouterr().out)
    assert (view["status"], len(view["tasks"])) == ("succeeded", 6)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read"),
        (b"", "is no export of a job"),
        (b"\xff\xfe\n", "is no export of a job"),
        (b'{"type":"submitted"}\n', "is no export of a job"),
        (
            b'{"galerne_export":9,"tenant":"a","job":"b","partitions":8,"at":1.0,"galerne":"7.1"}\n',
            "was written by galerne 7.1; this one reads forms up to 2",
        ),
        (DIAMOND.read_bytes()[:-20], "line 30"),
    ],
)
def test_a_file_that_is_none_is_one_line_and_2(
    content: bytes | None, said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "some.jsonl"
    if content is not None:
        path.write_bytes(content)
    assert main(["replay", str(path)]) == 2
    printed = capfd.readouterr()
    assert printed.out == ""
    assert said in printed.err
    assert printed.err.count("\n") == 1


def sealed(lines: list[bytes]) -> list[bytes]:
    """The lines of an export of form 2, with the last."""
    lines = [lines[0].replace(b'"galerne_export":1', b'"galerne_export":2'), *lines[1:]]
    digest = hashlib.sha256(b"".join(lines)).hexdigest()
    return [*lines, f'{{"facts":{len(lines) - 1},"sha256":"{digest}"}}\n'.encode()]


def test_a_whole_file_says_that_it_is(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "whole.jsonl"
    path.write_bytes(b"".join(sealed(DIAMOND.read_bytes().splitlines(keepends=True))))
    assert main(["replay", str(path)]) == 0
    assert "no difference" in capfd.readouterr().err


Damage = Callable[[list[bytes]], list[bytes]]
DAMAGES: dict[str, tuple[Damage, str]] = {
    "cut": (lambda lines: lines[:3], "ends after 2 facts"),
    "without its last line": (lambda lines: lines[:-1], "ends after 29 facts"),
    "without a line": (lambda lines: [*lines[:4], *lines[5:]], "is not as it was written"),
    "with one more": (lambda lines: [*lines, lines[3]], "line 32, stands behind the end"),
    "changed": (
        lambda lines: [lines[0], lines[1].replace(b"default", b"another"), *lines[2:]],
        "is not as it was written",
    ),
}


@pytest.mark.parametrize(("damage", "said"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_is_not_blamed_on_the_code(
    damage: Damage,
    said: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    whole = sealed(DIAMOND.read_bytes().splitlines(keepends=True))
    path = tmp_path / "some.jsonl"
    path.write_bytes(b"".join(damage(whole)))
    assert path.read_bytes() != b"".join(whole)
    assert main(["replay", str(path)]) == 2
    printed = capfd.readouterr()
    assert printed.out == ""
    assert said in printed.err
    assert "export it again" in printed.err
    assert printed.err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["replay"],
        ["export"],
        ["purge"],
        ["purge", "job", "--older-than", "7d"],
        ["purge", "--older-than", "a week"],
    ],
)
def test_a_bad_command_line_is_one_line_and_2(
    arguments: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert capfd.readouterr().err.count("\n") == 1
