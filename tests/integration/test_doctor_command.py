"""`galerne doctor` as people and scripts meet it: lines, codes, JSON, keys that stay secret."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from integration.pretending import Traits, pretending

pytestmark = pytest.mark.anyio

MODEL = "mistralai/Mistral-7B-Instruct-v0.3"
KEY = "sk-never-shown"
PATIENCE = 60.0


class Said(msgspec.Struct, frozen=True):
    code: int
    out: str
    err: str


async def doctor(folder: Path, *words: str, **variables: str) -> Said:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GALERNE_")}
    with anyio.fail_after(PATIENCE):
        done = await anyio.run_process(
            [sys.executable, "-m", "galerne", "doctor", *words],
            cwd=folder,
            env={**kept, "COLUMNS": "80", **variables},
            check=False,
        )
    said = Said(done.returncode, done.stdout.decode(), done.stderr.decode())
    assert KEY not in said.out + said.err
    return said


async def test_a_whole_server_ends_with_0_within_80_columns_and_without_colours(
    tmp_path: Path,
) -> None:
    async with pretending(Traits()) as server:
        said = await doctor(tmp_path, server.url, "--context", "4096")
    assert said.code == 0, said
    lines = said.out.splitlines()
    assert lines[0] == f"{MODEL} at {server.url} (vLLM)"
    assert all(line.startswith(("  ok ", "   ")) for line in lines[1:-1])
    assert lines[-1].startswith("  all well · ")
    assert max(map(len, lines)) <= 80
    assert "\x1b" not in said.out
    assert "spends at most 8,096 tokens" in said.err


async def test_a_failure_ends_with_1_and_the_line_under_it_says_what_mends_it(
    tmp_path: Path,
) -> None:
    async with pretending(Traits(tools="refused", strict=400)) as server:
        said = await doctor(tmp_path, server.url, "--quick")
    assert said.code == 1
    lines = said.out.splitlines()
    place = next(n for n, line in enumerate(lines) if line.startswith("  failure  tool calls"))
    told = " ".join(" ".join(lines[place:]).split())
    assert "→ start vLLM with --enable-auto-tool-choice --tool-call-parser mistral" in told
    assert "1 failure" in told
    assert max(map(len, lines)) <= 80


async def test_json_is_one_document_with_every_endpoint_of_the_settings(tmp_path: Path) -> None:
    big = "mistralai/Mixtral-8x22B-Instruct-v0.1"
    async with (
        pretending(Traits(models=(big,))) as planner,
        pretending(Traits(stream_usage=False)) as executor,
    ):
        said = await doctor(
            tmp_path,
            "--json",
            "--quick",
            GALERNE_PLANNER_ENDPOINT=planner.url,
            GALERNE_PLANNER_MODEL=big,
            GALERNE_EXECUTOR_ENDPOINT=executor.url,
            GALERNE_EXECUTOR_MODEL=MODEL,
        )
    assert said.code == 1
    first, second = json.loads(said.out)
    assert (first["roles"], first["model"], first["failures"]) == (["planner"], big, 0)
    assert (second["roles"], second["model"], second["failures"]) == (["executor"], MODEL, 1)
    assert first["tokens"] > 0
    found: dict[str, Any] = next(f for f in second["findings"] if f["probe"] == "streaming")
    assert found["level"] == "failure"
    assert found["mend"]


async def test_roles_that_share_a_model_are_looked_at_once(tmp_path: Path) -> None:
    async with pretending(Traits()) as server:
        variables = {
            f"GALERNE_{role}_{field}": value
            for role in ("PLANNER", "EXECUTOR")
            for field, value in (("ENDPOINT", server.url), ("MODEL", MODEL))
        }
        said = await doctor(tmp_path, "--quick", **variables)
    assert said.code == 0
    assert said.out.count(MODEL + " at ") == 1
    assert "planner and executor" in " ".join(said.out.split())


async def test_a_key_is_read_from_its_file_and_a_wrong_one_is_not_repeated(tmp_path: Path) -> None:
    (tmp_path / "right").write_text(f"{KEY}\n")
    async with pretending(Traits(key=KEY)) as server:
        said = await doctor(tmp_path, server.url, "--quick", "--key-file", "right")
    assert said.code == 0
    async with pretending(Traits(key="another")) as server:
        said = await doctor(tmp_path, server.url, "--quick", "--key-file", "right")
    assert said.code == 1
    assert "the key is refused (status 401)" in said.out


async def test_a_key_given_for_once_stands_in_place_of_the_file_of_the_settings(
    tmp_path: Path,
) -> None:
    (tmp_path / "right").write_text(f"{KEY}\n")
    (tmp_path / "old").write_text("sk-old\n")
    async with pretending(Traits(key=KEY)) as server:
        said = await doctor(
            tmp_path,
            server.url,
            "--quick",
            "--key-file",
            "right",
            GALERNE_EXECUTOR_ENDPOINT=server.url,
            GALERNE_EXECUTOR_MODEL=MODEL,
            GALERNE_EXECUTOR_API_KEY_FILE=str(tmp_path / "old"),
        )
    assert said.code == 0, said.err


async def test_roles_with_different_key_files_are_both_looked_at(tmp_path: Path) -> None:
    (tmp_path / "right").write_text(f"{KEY}\n")
    (tmp_path / "old").write_text("sk-old\n")
    async with pretending(Traits(key=KEY)) as server:
        variables = {
            f"GALERNE_{role}_{field}": value
            for role, file in (("PLANNER", "old"), ("EXECUTOR", "right"))
            for field, value in (
                ("ENDPOINT", server.url),
                ("MODEL", MODEL),
                ("API_KEY_FILE", str(tmp_path / file)),
            )
        }
        said = await doctor(tmp_path, "--quick", **variables)
    assert said.code == 1
    assert said.out.count(MODEL + " at ") == 2


async def test_the_key_of_the_settings_goes_to_no_other_address(tmp_path: Path) -> None:
    async with pretending(Traits()) as own, pretending(Traits()) as foreign:
        said = await doctor(
            tmp_path,
            foreign.url,
            "--quick",
            GALERNE_EXECUTOR_ENDPOINT=own.url,
            GALERNE_EXECUTOR_API_KEY=KEY,
        )
    assert said.code == 0
    assert set(foreign.keys) == {None}
    assert not own.keys


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "no model endpoint is set"),
        (("ftp://nowhere",), "http:// or https://"),
        (("http://127.0.0.1:9", "--key-file", "absent"), "cannot read the key file absent"),
        (("http://127.0.0.1:9", "--key-file", "two"), "must hold one key"),
        (("http://127.0.0.1:9", "--quick", "--context", "99"), "leave it or --context out"),
        (("http://127.0.0.1:9", "--context", "none"), "not a whole number"),
    ],
)
async def test_wrong_usage_ends_with_2_and_one_line(
    words: tuple[str, ...], told: str, tmp_path: Path
) -> None:
    (tmp_path / "two").write_text("one key\nand another")
    said = await doctor(tmp_path, *words)
    assert said.code == 2
    assert told in said.err
    assert len(said.err.splitlines()) == 1
    assert not said.out
