"""Arguments of a tool task, however deep, against the tool's JSON Schema."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galerne.messages.blobs import new_blob, to_value
from galerne.messages.tools import ToolSpec
from galerne.planner.arguments import argument_fault, prepare
from unit.planner.examples import parameters

RECORDED = Path(__file__).parents[4] / "shared/data/bfcl"
FILE = {
    "type": "object",
    "properties": {
        "path": {"type": "string"},
        "mode": {"enum": ["read", "write"]},
        "lines": {"type": "integer", "minimum": 1},
    },
    "required": ["path"],
    "additionalProperties": False,
}
SCHEMA = parameters(
    ["files"],
    files={"type": "array", "items": FILE, "minItems": 1},
    level={"type": "integer", "maximum": 3},
    order={"enum": ["up", "down"]},
    when={"type": "string", "format": "date"},
    name={"type": "string", "pattern": "^[a-z]+$"},
    either={"anyOf": [FILE, {"type": "array", "items": {"type": "string"}}]},
)
SENT = {"$ref": "1.files"}


CASES: list[tuple[dict[str, Any], str]] = [
    ({"files": []}, "args.files: [] has less than 1 item"),
    ({"files": [{"path": 1}]}, 'args.files[0].path: 1 is not of type "string"'),
    ({"files": [{}]}, 'args.files[0]: "path" is a required property'),
    ({"files": [{"path": SENT}, {"path": "a", "mode": "r"}]}, "args.files[1].mode: "),
    ({"files": [{"path": "a", "made": 1}]}, "args.files[0]: Additional properties are not"),
    ({"files": [{"path": "a", "lines": 0}]}, "args.files[0].lines: 0 is less than"),
    ({"files": [{"mode": SENT}]}, 'args.files[0]: "path" is a required property'),
    ({"files": SENT, "level": 4}, "args.level: 4 is greater than the maximum of 3"),
    ({"files": SENT, "order": "left"}, 'args.order: "left" is not one of "up" or "down"'),
    ({"files": SENT, "name": "A"}, "args.name: "),
    ({"files": SENT, "either": {"path": 7}}, "args.either: "),
    ({"files": {"path": "a"}}, "args.files must be array, not object"),
]


@pytest.mark.parametrize(("args", "fault"), CASES)
def test_what_cannot_fit_is_told_with_its_place(args: dict[str, Any], fault: str) -> None:
    told = argument_fault(args, SCHEMA)
    assert told is not None
    assert told.startswith(fault)
    assert "\n" not in told


@pytest.mark.parametrize(
    "args",
    [
        {"files": SENT},
        {"files": [SENT, "{{1.files}}"]},
        {"files": [{"path": "{{item}}", "mode": {"$ref": "1"}, "lines": {"$ref": "1.lines"}}]},
        {"files": SENT, "level": {"$ref": "1"}, "order": "{{1}}", "name": "{{1}}-Z"},
        {"files": SENT, "either": {"path": SENT}},
        {"files": SENT, "either": [SENT]},
        {"files": SENT, "when": "tomorrow"},
        {"files": [{"path": "a", "lines": 2.0}]},
    ],
)
def test_what_a_result_may_still_make_right_is_no_fault(args: dict[str, Any]) -> None:
    assert argument_fault(args, SCHEMA) is None


def test_a_condition_on_what_is_not_known_yet_says_nothing() -> None:
    schema = parameters([], mode={"type": "string"}, path={"type": "object"})
    schema |= {"if": {"properties": {"mode": {"const": "x"}}}, "then": {"required": ["path"]}}
    assert argument_fault({"mode": "{{1}}"}, schema) is None
    assert argument_fault({"mode": "x", "path": {}}, schema) is None


@pytest.mark.parametrize(
    "odd",
    [
        {"type": "dict"},
        {"type": "any"},
        {"type": "float", "minimum": 0},
        {"type": "tuple", "items": {"type": "float"}},
        {"type": "whatever", "enum": 7},
        {"type": ["dict", "tuple", "float"]},
        {"pattern": "(?=a)b", "type": "String"},
        {"$ref": "#/nowhere"},
        {"$ref": "https://elsewhere.test/schema.json"},
    ],
)
@given(value=st.sampled_from([{"a": 1}, [1.5, 2], 1.5, "text", None]))
@settings(max_examples=20)
def test_odd_words_in_a_schema_refuse_nothing_that_they_may_mean(odd: Any, value: Any) -> None:
    fault = argument_fault({"x": value}, parameters(["x"], x=odd))
    match odd.get("type"), value:
        case ("dict", dict()) | ("float", float()) | ("tuple", list()) | ("String", str()):
            assert fault is None
        case ("any" | "whatever" | None, _):
            assert fault is None
        case (list(), dict() | list() | float()):
            assert fault is None
        case _:
            assert fault is not None
            assert fault.startswith("args.x must be ")


@pytest.mark.skipif(not RECORDED.is_dir(), reason="../shared/data is absent: no recorded tools")
def test_no_recorded_tool_has_a_schema_that_cannot_be_used() -> None:
    rows = map(msgspec.json.decode, (RECORDED / "requests.jsonl").read_bytes().splitlines())
    functions = [tool["function"] for row in rows for tool in row["tools"]]
    specs = [
        ToolSpec(name=one["name"], description="", parameters=one["parameters"])
        for one in functions
    ]
    prepare(specs)
    for spec in specs:
        required = spec.parameters.get("required") or ()
        assert argument_fault({name: {"$ref": "1"} for name in required}, spec.parameters) is None


def test_content_elsewhere_may_be_anything() -> None:
    blob = to_value(new_blob("0" * 64, 5))
    numbers = {"type": "array", "items": {"type": "integer"}}
    schema = parameters(["a"], a=numbers)
    assert argument_fault({"a": blob}, schema) is None
    assert argument_fault({"a": [1, blob]}, schema) is None
    assert argument_fault({"a": [1, "b"]}, schema) is not None
