"""A deployment's own prompts: what replaces ours, and what is refused."""

from hashlib import sha256
from pathlib import Path

import pytest

from galerne.errors import InvalidSettingsError
from galerne.planner import Prompts, answer_request, planner_request, prompts_of


def test_a_text_of_the_folder_replaces_ours(tmp_path: Path) -> None:
    (tmp_path / "planner.md").write_text("Plan like a sailor.\n")
    (tmp_path / "answer-cite.md").write_text("Cite nothing.")
    prompts = prompts_of(str(tmp_path))
    assert prompts.own == {"planner": "Plan like a sailor.", "answer-cite": "Cite nothing."}
    system = planner_request("g", (), prompts=prompts).messages[0].content
    assert system.startswith("Plan like a sailor.\n# Tools")
    answer = answer_request("g", {}, prompts=prompts).messages[0].content
    assert answer.startswith("You write the final answer of a job.")
    assert answer.endswith("\nCite nothing.")
    assert set(prompts.versions()) == {"planner", "answer-cite"}
    assert all(len(version) == 12 for version in prompts.versions().values())


def test_without_a_folder_all_is_ours() -> None:
    assert prompts_of(None) == Prompts()
    assert planner_request("g", ()) == planner_request("g", (), prompts=Prompts())


@pytest.mark.parametrize(
    ("name", "data", "what"),
    [
        ("planer.md", b"x", "planer.md is none of planner.md, revision.md, answer.md"),
        ("planner.md", b" \n", "planner.md is empty"),
        ("planner.md", b"\xff\xfe", "not text in UTF-8"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, name: str, data: bytes, what: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InvalidSettingsError, match=what) as caught:
        prompts_of(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettingsError, match="No such file or directory"):
        prompts_of(str(tmp_path / "nowhere"))


FOLDERS = (
    Path(__file__).parents[3] / "orchestrator/galerne/planner/prompts",
    Path(__file__).parents[3] / "agents/galerne_agents/prompts",
)
SUMS = {
    "answer-cite.v2.md": "94af50363b57",
    "answer-more.v3.md": "c9ed5a61cbee",
    "answer.v2.md": "10f2bbc61da6",
    "planner.v5.md": "6bc94dcb3c1b",
    "summary.v1.md": "774a63627505",
    "revision.v2.md": "a6ebd0418baa",
    "executor.v3.md": "738fc7ad0de0",
}


def test_a_changed_text_is_a_new_version() -> None:
    """Runs are told apart by the version: change the name of the file, too, and this."""
    found = [file for folder in FOLDERS for file in folder.iterdir()]
    assert {file.name: sha256(file.read_bytes()).hexdigest()[:12] for file in found} == SUMS
