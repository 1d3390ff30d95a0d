"""The catalogue against Mistral's own list of its models, where that lies beside the project."""

import json
import statistics
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, cast

import pytest

from galerne.models.catalogue import Model, load
from galerne.models.catalogue.choosing import seconds_to_answer

DATA = Path(__file__).parents[4] / "shared" / "data"
SOURCE = DATA / "mistral_models_2026-08-21.json"
CONTEXTS = {"8k": 8, "32k": 32, "40k": 40, "64k": 64, "128k": 128, "256k": 256}
STATUSES = {
    "GA": "ga",
    "Deprecated": "deprecated",
    "Retired": "retired",
    "PublicPreview": "preview",
}
CATALOGUE = load()


def rows() -> list[dict[str, Any]]:
    if not SOURCE.is_file():
        pytest.skip(f"{SOURCE.name} is not here")
    models: list[dict[str, Any]] = json.loads(SOURCE.read_text(encoding="utf-8"))["models"]
    return models


def day(text: str | None) -> date | None:
    if not text:
        return None
    form = "%Y-%m-%d" if text[0].isdigit() else "%B %d, %Y"
    return datetime.strptime(text, form).replace(tzinfo=UTC).date()


def context(text: str | None) -> int | None:
    if text == "1M":
        return 1_000_000
    return None if text in {None, "--"} else CONTEXTS[str(text)] * 1024


def same(model: Model, row: dict[str, Any], names: dict[str, list[str]]) -> bool:
    """Whether a model of ours says all that a row says."""
    replaced = row["replacement"]
    return (
        model.context == context(row["context"])
        and model.input_price == row["usd_per_mtok_in"]
        and model.output_price == row["usd_per_mtok_out"]
        and model.status == STATUSES[row["status"]]
        and model.deprecated == day(row["deprecation"])
        and model.retired == day(row["retirement"])
        and model.structured_outputs == row["structured_outputs"]
        and (model.tools == "native" or not row["function_calling"])
        and (model.replacement in names[replaced] if replaced else model.replacement is None)
    )


def test_every_name_of_the_hosted_api_is_here_with_its_facts() -> None:
    found = rows()
    names: dict[str, list[str]] = {}
    for row in found:
        names.setdefault(row["name"], []).extend(row["api_names"])
    checked = 0
    for row in found:
        for name in row["api_names"]:
            known = CATALOGUE.named(name, "hosted")
            assert any(same(model, row, names) for model in known), (name, row)
            assert any(set(model.hosted) == set(row["api_names"]) for model in known), name
            checked += 1
    assert checked == 86
    assert len(found) == len(CATALOGUE.models)


def test_the_models_without_a_name_on_the_api_are_here_too() -> None:
    nameless = [row["name"] for row in rows() if not row["api_names"]]
    titles = {model.title for model in CATALOGUE.models if not model.hosted}
    assert len(nameless) == len(titles)
    assert all(any(title.startswith(name) for title in titles) for name in nameless)


@pytest.mark.parametrize(
    ("file", "model"),
    [
        ("open-mixtral-8x22b-FC-Auto.jsonl", "mixtral-8x22b-instruct-v0.1"),
        ("open-mistral-nemo-2407-FC-Auto.jsonl", "mistral-nemo-instruct-2407"),
    ],
)
def test_the_estimated_seconds_are_those_that_were_recorded(file: str, model: str) -> None:
    path = DATA / "bfcl" / file
    if not path.is_file():
        pytest.skip(f"{file} is not here")
    answers = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    recorded = statistics.median(
        seconds for answer in answers for seconds in flat(answer["latency_s"])
    )
    estimated = seconds_to_answer(CATALOGUE[model])
    assert estimated == pytest.approx(recorded, abs=0.01)


def flat(value: Any) -> list[float]:
    """The numbers in lists of lists."""
    if not isinstance(value, list):
        return [float(value)]
    return [number for one in cast("Sequence[Any]", value) for number in flat(one)]
