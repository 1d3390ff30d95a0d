"""Real answers of 8x22B and Nemo that came as text instead of calls: prose, and calls in fences."""

from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from galerne.models.repair import Parsed, parse_calls

DATA = Path(__file__).parents[5] / "shared" / "data" / "bfcl"

pytestmark = pytest.mark.skipif(
    not DATA.exists(), reason="../shared/data is absent: no recorded answers to read"
)


def rows(name: str) -> list[dict[str, Any]]:
    return [msgspec.json.decode(line) for line in (DATA / name).read_bytes().splitlines()]


def outcome(parsed: Parsed) -> str:
    if parsed.calls:
        return "calls among prose" if parsed.among_prose else "calls"
    if parsed.unknown:
        return "unknown"
    if parsed.tried:
        return "refused"
    return "shown" if parsed.shown else "none"


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("open-mixtral-8x22b", {"calls among prose": 4, "shown": 12, "none": 44}),
        ("open-mistral-nemo-2407", {"shown": 1, "none": 14}),
    ],
)
def test_every_text_answer_is_read_and_no_call_is_invented(
    model: str, expected: dict[str, int]
) -> None:
    requests = {row["id"]: row for row in rows("requests.jsonl")}
    outcomes: Counter[str] = Counter()
    for row in rows(f"{model}-FC-Auto.jsonl"):
        if not isinstance(text := row["result"], str):
            continue
        tools = {
            tool["function"]["name"]: tool["function"]["parameters"]
            for tool in requests[row["id"]]["tools"]
        }
        order = {name: tuple(schema["properties"]) for name, schema in tools.items()}
        parsed = parse_calls(text, tools, order)
        outcomes[outcome(parsed)] += 1
        assert not parsed.unknown, row["id"]
        for call in parsed.calls:
            schema = tools[call.name]
            assert set(call.arguments) <= set(schema["properties"]), row["id"]
            assert set(schema["required"]) <= set(call.arguments), row["id"]
        if not parsed.tried:
            assert parsed.content == text
    assert outcomes == expected


def test_every_native_answer_written_in_any_syntax_is_the_same_call() -> None:
    requests = {row["id"]: row for row in rows("requests.jsonl")}
    seen = 0
    for row in rows("open-mixtral-8x22b-FC-Auto.jsonl"):
        if isinstance(row["result"], str):
            continue
        names = [tool["function"]["name"] for tool in requests[row["id"]]["tools"]]
        calls = [next(iter(call.items())) for call in row["result"]]
        known = {*names, *(name for name, _ in calls)}
        expected = [(name, msgspec.json.decode(arguments)) for name, arguments in calls]
        listed = [{"name": name, "arguments": arguments} for name, arguments in expected]
        for text in (
            f"[TOOL_CALLS] {msgspec.json.encode(listed).decode()}",
            "".join(f"[TOOL_CALLS]{name}[ARGS]{arguments}" for name, arguments in calls),
            repr(listed),
            f"```json\n{msgspec.json.encode(row['result']).decode()}\n```",
            "\n".join(
                f"{name}({', '.join(f'{k}={v!r}' for k, v in arguments.items())})"
                for name, arguments in expected
            ),
        ):
            found = [(call.name, call.arguments) for call in parse_calls(text, known).calls]
            assert found == expected, text
            seen += 1
    assert seen > 500
