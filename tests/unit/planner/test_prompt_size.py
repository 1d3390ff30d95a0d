"""The planner's prompt stays small, because every plan is paid for with it."""

import random
from pathlib import Path
from typing import Any

import msgspec
import pytest

from galerne.messages.tools import ToolSpec
from galerne.models.tokens import exact
from galerne.planner import planner_request

RECORDED = Path(__file__).parents[4] / "shared/data/bfcl/requests.jsonl"
MOST = 1_800
"""Tokens of the system message with 20 tools, by Mixtral 8x22B's tokenizer."""
SETS = 400


def specs(rows: list[Any]) -> list[ToolSpec]:
    functions = [tool["function"] for row in rows for tool in row["tools"]]
    return [
        ToolSpec(name=one["name"], description=one["description"], parameters=one["parameters"])
        for one in functions
    ]


@pytest.mark.skipif(not RECORDED.is_file(), reason="../shared/data is absent: no recorded tools")
def test_with_20_real_tools_it_has_at_most_1800_tokens() -> None:
    rows = [msgspec.json.decode(line) for line in RECORDED.read_bytes().splitlines()]
    tools = specs(rows)
    counter = exact("v3")
    assert counter is not None
    chance = random.Random(20)
    sizes = [
        counter.text(planner_request("a goal", chance.sample(tools, 20)).messages[0].content)
        for _ in range(SETS)
    ]
    assert max(sizes) <= MOST
