"""`galerne models`: its words, its columns, its JSON, and what it says about wrong input."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from galerne.cli.main import main

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _eighty_columns(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.chdir(tmp_path)


def run(captured: Captured, *words: str, code: int = 0) -> tuple[str, str]:
    assert main(["models", *words]) == code
    said = captured.readouterr()
    return said.out, said.err


def document(captured: Captured, *words: str) -> Any:
    return json.loads(run(captured, *words)[0])


COMPLEX_OWN = ("choose", "--quality", "complex", "--gpu", "2x80GB", "--self-hosted")


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--all",),
        ("show", "mixtral:8x22b"),
        ("show", "mistral"),
        COMPLEX_OWN,
        ("choose", "--quality", "moderate", "--latency", "2s", "--budget", "0.5"),
        ("choose", "--quality", "moderate", "--gpu", "2x80GB", "--self-hosted"),
    ],
)
def test_everything_fits_into_80_columns(words: tuple[str, ...], capsys: Captured) -> None:
    out, _ = run(capsys, *words)
    assert max(map(len, out.splitlines())) <= 80


def test_the_list_begins_with_what_the_api_has_today(capsys: Captured) -> None:
    out, err = run(capsys)
    lines = out.splitlines()
    assert lines[0].split() == ["model", "on", "B", "context", "tools", "$", "in/out", "int4"]
    assert lines[1].split()[0] == "mistral-large-2512"
    row = next(line for line in lines if line.startswith("mixtral-8x22b-instruct-v0.1"))
    assert row.split()[1:] == ["own", "141/39", "64k", "native", "89"]
    assert "mistral-embed" not in out
    assert "mistral-next" not in out
    assert "more are retired or not for chat: --all" in err


def test_all_shows_every_model_whole(capsys: Captured) -> None:
    out, err = run(capsys, "--all")
    joined = "".join(out.split())
    assert not err
    for name in ("mistral-embed-2312", "mistral-next", "mistral-ocr-2512"):
        assert name in joined
    assert len(document(capsys, "--all", "--json")) == 65


def test_json_has_all_fields_and_what_follows(capsys: Captured) -> None:
    (model,) = document(capsys, "show", "open-mixtral-8x22b", "--json")
    assert model["id"] == "mixtral-8x22b-instruct-v0.1"
    assert model["memory"] == {"fp16": 315.2, "int8": 167.4, "int4": 88.6}
    assert model["retired"] == "2025-03-30"
    assert model["hosted_today"] is False
    assert model["self_hostable"] is True


def test_a_flag_before_the_action_counts_too(capsys: Captured, tmp_path: Path) -> None:
    assert document(capsys, "--json", "show", "mistral")[0]["id"] == "mistral-7b-instruct-v0.3"
    mine = tmp_path / "mine.toml"
    mine.write_text('[[models]]\nid = "mistral-7b-instruct-v0.3"\ncontext = 1000\n')
    config = tmp_path / "other.toml"
    config.write_text(f'[models]\ncatalogue = "{mine}"\n')
    assert "1,000 tokens" in run(capsys, "--config", str(config), "show", "mistral")[0]
    assert "1,000 tokens" in run(capsys, "show", "mistral", "--config", str(config))[0]


def test_show_gives_the_facts_and_what_is_there_instead(capsys: Captured) -> None:
    out, _ = run(capsys, "show", "open-mixtral-8x22b")
    assert out.startswith("Mixtral 8x22B Instruct v0.1\n")
    for words in (
        "memory        315.2 GiB at fp16, 167.4 at int8, 88.6 at int4",
        "context       65,536 tokens",
        "status        left the hosted API on 2025-03-30",
        "instead       mistral-small-2603",
    ):
        assert words in out
    both, _ = run(capsys, "show", "open-mistral-7b")
    assert "v0.3\n" in both
    assert "Instruct v0.2\n" in both


def test_a_price_names_its_unit(capsys: Captured) -> None:
    assert "$2 in, per 1,000 pages (2026-08-21)" in run(capsys, "show", "mistral-ocr-2512")[0]
    said = run(capsys, "show", "mistral-small-latest")[0]
    assert "$0.15 in, $0.6 out, per million tokens (2026-08-21)" in said


def test_choose_prints_picks_reasons_commands_settings_and_the_others(capsys: Captured) -> None:
    out, _ = run(capsys, *COMPLEX_OWN)
    for words in (
        "planner: mixtral-8x22b-instruct-v0.1, on your own GPUs at int4\n",
        "executor: mistral-nemo-instruct-2407, on your own GPUs at fp16\n",
        "  - takes 88.6 of 160 GiB at int4\n",
        "  ollama pull mixtral:8x22b-instruct-v0.1-q4_0\n",
        "  export GALERNE_PLANNER_MODEL=mixtral:8x22b-instruct-v0.1-q4_0\n",
        "  - mistral-large-2512 (API): only self-hosted ones are wanted\n",
    ):
        assert words in out


def test_a_long_command_can_be_pasted_as_it_stands(capsys: Captured) -> None:
    out, _ = run(capsys, *COMPLEX_OWN)
    start = out.index("  vllm serve")
    words = shlex.split(out[start : out.index("\n\n", start)].replace("\\\n", " "))
    assert words[:3] == ["vllm", "serve", "mistralai/Mistral-Nemo-Instruct-2407"]
    assert words[-2:] == ["--tool-call-parser", "mistral"]


def test_choose_as_json_has_the_same(capsys: Captured) -> None:
    found = document(capsys, *COMPLEX_OWN, "--json")
    assert set(found) == {"planner", "executor", "others", "commands", "variables"}
    assert found["planner"]["model"] == "mixtral-8x22b-instruct-v0.1"
    assert found["planner"]["precision"] == "int4"
    assert found["variables"]["GALERNE_EXECUTOR_ENDPOINT"] == "http://127.0.0.1:8002/v1"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("show", "mistral-smal-2603"), "did you mean mistral-small-2603?"),
        (("show", "qwen"), "`galerne models --all` lists all"),
        (("choose", "--quality", "simple", "--gpu", "big"), "write none, 1x24GB or 2x80GB"),
        (("choose", "--quality", "simple", "--self-hosted"), "would do: --gpu 1x8GB"),
        (("choose", "--quality", "best"), "invalid choice"),
        (("choose",), "--quality"),
        (("choose", "--quality", "simple", "--latency", "soon"), "'soon' is no time"),
        (("choose", "--quality", "simple", "--budget", "-1"), "not a number from 0 on"),
        (("shw",), "invalid choice"),
    ],
)
def test_wrong_input_is_one_line_and_code_2(
    words: tuple[str, ...], says: str, capsys: Captured
) -> None:
    out, err = run(capsys, *words, code=2)
    assert out == ""
    assert len(err.splitlines()) == 1
    assert says in err


def test_a_wrong_catalogue_is_one_line_and_code_2(
    capsys: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text('[[models]]\nid = "our-7b"\ncontext = "long"\n')
    monkeypatch.setenv("GALERNE_MODELS_CATALOGUE", str(mine))
    _, err = run(capsys, code=2)
    assert err.startswith(f"galerne: {mine}: model 'our-7b': ")
