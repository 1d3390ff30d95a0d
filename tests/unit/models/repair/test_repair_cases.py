"""One table of answers and of what each one calls, beside the recorded one in ../shared/data."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from galerne.models.repair import Parsed, parse_calls

DATA = Path(__file__).parents[5] / "shared" / "data" / "toolcall_text_cases.jsonl"
KNOWN = ("add", "get_weather", "math.sum_of", "search", "write_file", "now")
ORDER = {"add": ("a", "b"), "search": ("query", "limit"), "now": ()}
SURROGATE = "\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16")


def recorded() -> list[dict[str, Any]]:
    if not DATA.exists():
        return []
    return [msgspec.json.decode(line) for line in DATA.read_bytes().splitlines()]


@pytest.mark.skipif(not DATA.exists(), reason="../shared/data is absent: no recorded cases to read")
def test_every_recorded_case_means_what_it_says() -> None:
    cases = recorded()
    assert len(cases) == 38
    for case in cases:
        offered = {call["name"] for call in case["calls"]} | {"bash", "toolname_no_args", "search"}
        parsed = parse_calls(case["text"], offered)
        found = [{"name": call.name, "arguments": call.arguments} for call in parsed.calls]
        assert found == case["calls"], case["id"]
        if case["content"] is not None:
            assert parsed.content == case["content"], case["id"]
        elif case["id"] != "text-no-names":  # data without markup stays what the model said
            assert parsed.content == "", case["id"]
        assert "[TOOL_CALLS]" not in parsed.content
        if "call_ids" in case:
            assert [call.id for call in parsed.calls] == case["call_ids"]
        if "partial" in case:
            assert parsed.cut == (case["partial"],)


OPEN_ADD = '{"name": "add", "arguments": {"a": 1, "b": 2}'
ADD = [("add", {"a": 1, "b": 2})]
WEATHER = [("get_weather", {"city": "Paris"})]
WHOLE: list[tuple[str, list[tuple[str, dict[str, Any]]], str]] = [
    # Mistral's marker
    ('[TOOL_CALLS]{"name": "add", "arguments": {"a": 1, "b": 2}}', ADD, ""),
    ('[TOOL_CALLS] ```json\n[{"name":"add","arguments":{"a":1,"b":2}}]\n```', ADD, ""),
    ('```\n[TOOL_CALLS]add{"a": 1, "b": 2}\n```', ADD, ""),
    ('Well.\n```\n[TOOL_CALLS]add{"a": 1, "b": 2}\n```\nSo.', ADD, "Well.\n\nSo."),
    ("[TOOL_CALLS]add(a=1, b=2)", ADD, ""),
    ("[TOOL_CALLS] [add(a=1, b=2)]", ADD, ""),
    ('[TOOL_CALLS]add {"a": 1, "b": 2}', ADD, ""),
    ('[TOOL_CALLS]"add"{"a": 1, "b": 2}', ADD, ""),
    ('[TOOL_CALLS]get\\_weather{"city": "Paris"}', WEATHER, ""),
    ('[TOOL_CALLS]add[CALL_ID]abc123XYZ[ARGS]{"a": 1, "b": 2}', ADD, ""),
    ('[TOOL_CALLS]add{"a": 1, "b": 2}}', ADD, ""),
    # What vLLM leaves of two calls where it takes the special tokens out.
    ('add{"a": 1, "b": 2}search{"query": "x"}', [*ADD, ("search", {"query": "x"})], ""),
    ('add{"a": 1, "b": 2}\nsearch{"query": "x"}\n', [*ADD, ("search", {"query": "x"})], ""),
    ('[TOOL_CALLS][TOOL_CALLS]add{"a": 1, "b": 2}', ADD, ""),
    ('[TOOL_CALLS][{"name": "now"}]', [("now", {})], ""),
    ('[TOOL_CALLS][{"name": "now", "arguments": ""}]', [("now", {})], ""),
    ('[TOOL_CALLS][{"name": "now", "arguments": null}]', [("now", {})], ""),
    ('[TOOL_CALLS][{"name": "add", "arguments": "{\\"a\\": 1, \\"b\\": 2}"}]', ADD, ""),
    ('[TOOL_CALLS][{"name": "add", "arguments": {"a": 1, "b": 2}}', ADD, ""),
    ('[TOOL_CALLS][{"name": "add", "arguments": {"a": 1, "b": 2}', ADD, ""),
    (f"[TOOL_CALLS][{OPEN_ADD}, {OPEN_ADD}}}]", ADD + ADD, ""),
    (
        '[TOOL_CALLS]write_file{"text": "say [TOOL_CALLS]add{} or <tool_call>"} ok',
        [("write_file", {"text": "say [TOOL_CALLS]add{} or <tool_call>"})],
        " ok".strip(),
    ),
    (f"[TOOL_CALLS] [{OPEN_ADD}}}]\n[{OPEN_ADD}}}] [1]", ADD + ADD, ""),
    ("[TOOL_CALLS] []", [], ""),
    ("Put `[TOOL_CALLS]add{}` before it.", [], "Put `[TOOL_CALLS]add{}` before it."),
    # tags
    (
        '<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": 2}}\n</tool_call>\nDone.',
        ADD,
        "Done.",
    ),
    ('Yes.<tool_call>{"name":"add","arguments":{"a":1,"b":2}}', ADD, "Yes."),
    ('<function=add>{"a": 1, "b": 2}</function>', ADD, ""),
    ('<tool_call><function=add>{"a": 1, "b": 2}</function></tool_call>', ADD, ""),
    ("<function=now></function>", [("now", {})], ""),
    ('<|python_tag|>{"name": "add", "parameters": {"a": 1, "b": 2}}', ADD, ""),
    ("<tool_call>add(a=1, b=2)</tool_call>", ADD, ""),
    # data
    ('{"name": "add", "parameters": {"a": 1, "b": 2}}', ADD, ""),
    ('{"name": "add", "args": {"a": 1, "b": 2}}', ADD, ""),
    ('{"tool": "add", "input": {"a": 1, "b": 2}}', ADD, ""),
    ('{"type":"function","function":{"name":"add","arguments":"{\\"a\\":1,\\"b\\":2}"}}', ADD, ""),
    ('{"tool_calls": [{"name": "add", "arguments": {"a": 1, "b": 2}}]}', ADD, ""),
    ('{"add": {"a": 1, "b": 2}}', ADD, ""),
    ('[{"add": {"a": 1, "b": 2}}, {"get_weather": {"city": "Paris"}}]', ADD + WEATHER, ""),
    (
        '{"name":"add","arguments":{"a":1,"b":2}}\n{"name":"get_weather","args":{"city":"Paris"}}',
        ADD + WEATHER,
        "",
    ),
    ("{'name': 'add', 'arguments': {'a': 1, 'b': 2,}}</s>", ADD, ""),
    ('{"name": "get\\_weather", "arguments": {"city": "Paris"}}', WEATHER, ""),
    ('{"name": "functions.add", "arguments": {"a": 1, "b": 2}}', ADD, ""),
    ('get_weather[ARGS]{"city": "Paris"}', WEATHER, ""),
    ('get_weather{"city": "Paris"}', WEATHER, ""),
    (
        '{"name": "write_file", "arguments": {"text": "a\nb \\d \\u00e9 \\ud83d\\ude00 \\u0027"}}',
        [("write_file", {"text": f"a\nb \\d é {SURROGATE} '"})],
        "",
    ),
    ("```python\n[{'name': 'add', 'arguments': {'a': 1, 'b': 2}}]\n```", ADD, ""),
    ('```{"name": "add", "arguments": {"a": 1, "b": 2}}```', ADD, ""),
    ('```json\n{"name": "add", "arguments": {"a": 1, "b": 2}}', ADD, ""),
    # functions
    ("add(a=1, b=2)\nget_weather(city='Paris')", ADD + WEATHER, ""),
    ("`add(a=1, b=2)`", ADD, ""),
    ('[add(a=1, b=2), get_weather(city="Paris")', ADD + WEATHER, ""),
    ("add(1, 2)", ADD, ""),
    ("add(1, b=2)", ADD, ""),
    ("add({'a': 1, 'b': 2})", ADD, ""),
    ("now()", [("now", {})], ""),
    ("math_sum_of(items=(1, 2), deep={'x': None, 'y': True})",
     [("math.sum_of", {"items": [1, 2], "deep": {"x": None, "y": True}})], ""),
    ('write_file(text="""one\n"two"\n""")', [("write_file", {"text": 'one\n"two"\n'})], ""),
    ("add(a=(1), b=2.0e0)", [("add", {"a": 1, "b": 2.0})], ""),
    ("```python\n# first the sum\nadd(a=1, b=2)  # done\n```", ADD, ""),
]  # fmt: skip
PLAIN = [
    "",
    "Use add(a=1, b=2) to get the sum.",
    "add(a=1, b=2) gives 3.",
    'add{"a": 1} is a set; so is add{"b": 2}',
    "add(a=x, b=y) adds them.",
    "The answer is 42.",
    "[1, 2, 3]",
    "[]",
    "{}",
    '{"city": "Paris", "temperature": 21}',
    '{"name": "John", "age": 3}',
    '{"name": "add"}',
    '{"person": {"age": 3}}',
    '{"add": {"a": 1}, "note": {"b": 2}}',
    '{"name": "add", "parameters": {"type": "object", "properties": {"a": {}}}}',
    '[{"name": "add", "arguments": {"a": 1}}, "and more"]',
    '{"name": "add", "arguments": {"a": 1}} is how it looks.',
    "result = add(a=1, b=2)",
    "print(add(a=1, b=2))",
    "Point(1, 2)",
    "f(x) = x + 1",
    "add(*[1, 2])",
    "add(2 ** 3, 1)",
    "['integrate', 'x^3', -2, 3, 'simpson']",
    "# Plan\nadd(a=1, b=2)",
    "Look:\n```python\nresult = add(a=1, b=2)\nprint(result)\n```",
    'Such as\n```\n{"name": "book_table", "arguments": {"place": "x"}}\n```\nfor one.',
    "```bash\nadd(a=1, b=2)\n```",
    "Look: ```add``` is a tool.",
]
BROKEN: list[tuple[str, str]] = [
    ('{"name": "add", "arguments": {"a": NaN}}', "add"),
    ('{"name": "add", "arguments": {"a": Infinity}}', "add"),
    ('{"name": "add", "arguments": {"a": 1e999}}', "add"),
    ('{"name": "add", "arguments": {"a": 123456789012345678901234567890}}', "add"),
    ('{"name": "add", "arguments": {"a": ' + "9" * 10_000 + "}}", "add"),
    ('{"name": "add", "arguments": {"a": 007}}', "add"),
    ('{"name": "add", "arguments": {"a": "\\u12G4"}}', "add"),
    ('{"name": "add", "arguments": {"a": "\\ud800"}}', "add"),
    ('{"name": "add", "arguments": {"a": "\\U00ffffff"}}', "add"),
    ('{"name": "add", "arguments": {"a": 1, "a": 2}}', "add"),
    ('{"name": "add", "arguments": {1: 2}}', "add"),
    ('{"name": "add", "arguments": [1, 2]}', "add"),
    ('{"name": "add", "arguments": "a=1"}', "add"),
    ('{"name": "add", "arguments": {"a": ' + "[" * 100 + "]" * 100 + "}}", "add"),
    ("add(1, 2, 3)", "add"),
    ("get_weather('Paris')", "get_weather"),
    ("add(1, a=2)", "add"),
    ("add(a=1, a=2)", "add"),
    ("add(a=nan, b=2)", "add"),
    ("add(a=open('/etc/passwd'), b=2)", "add"),
    ('[TOOL_CALLS]add{"a": oops}', "add"),
    ("<function=add>a=1</function>", "add"),
    ('[TOOL_CALLS][{"name": "add", "arguments": {"a": 1}, "name": "now"}]', "add"),
]
CUT: list[tuple[str, tuple[str, ...], int]] = [
    ("[TOOL_CALLS]", ("",), 0),
    ("Hello [TOOL_CA", ("",), 0),
    ("[TOOL_CALLS]add[ARGS]", ("add",), 0),
    ("[TOOL_CALLS]add[AR", ("add",), 0),
    ('[TOOL_CALLS]now[ARGS][TOOL_CALLS]add{"a": 1}', ("now",), 1),
    ('[TOOL_CALLS]add{"a": 1', ("add",), 0),
    ('[TOOL_CALLS][{"name": "add", "arguments": {"a": 1', ("add",), 0),
    ('[TOOL_CALLS][{"name": "add", "argu', ("add",), 0),
    ('[TOOL_CALLS][{"name": "ad', ("",), 0),
    ('[TOOL_CALLS][{"arguments": {"name": "John"', ("",), 0),
    ('[TOOL_CALLS][{"name": "now"', ("now",), 0),
    ('[TOOL_CALLS][{"name":"add","arguments":{"a":1}}, {"name":"now","argum', ("now",), 1),
    ('{"name": "add", "arguments": {"a": 1, "b": "tw', ("add",), 0),
    ('```json\n{"name": "add", "arguments": {"a": tr', ("add",), 0),
    ("add(a=1, b=2", ("add",), 0),
    ("add(a=1, b", ("add",), 0),
    ("[add(a=1, b=2), get_weather(city='Par", ("get_weather",), 1),
    ('<function=add>{"a": 1', ("add",), 0),
    ("Hello\n```python\nadd(a=1, b=", ("add",), 0),
    ('<tool_call>{"name": "add", "arguments": {"a": -', ("add",), 0),
    ('{"add": {"a": 1, ', ("add",), 0),
]
UNKNOWN = [
    ('[TOOL_CALLS]get_wether{"city": "Paris"}', ("get_wether",)),
    ('{"name": "get_wether", "arguments": {"city": "Paris"}}', ("get_wether",)),
    ("get_wether(city='Paris')", ("get_wether",)),
    ("[get_wether(city='Paris')]", ("get_wether",)),
    ('<tool_call>{"name": "get_wether", "arguments": {}}</tool_call>', ("get_wether",)),
    ('Hm. [TOOL_CALLS][{"name": "rm", "arguments": {}}]', ("rm",)),
]


def calls(parsed: Parsed) -> list[tuple[str, dict[str, Any]]]:
    return [(call.name, call.arguments) for call in parsed.calls]


@pytest.mark.parametrize(("text", "expected", "content"), WHOLE)
def test_a_whole_call_is_found(
    text: str, expected: list[tuple[str, dict[str, Any]]], content: str
) -> None:
    parsed = parse_calls(text, KNOWN, ORDER)
    assert calls(parsed) == expected
    assert parsed.content.strip() == content
    assert parsed == Parsed(parsed.content, calls=parsed.calls, syntax=parsed.syntax)


@pytest.mark.parametrize("text", PLAIN)
def test_words_and_data_stay_what_they_are(text: str) -> None:
    assert parse_calls(text, KNOWN, ORDER) == Parsed(text)


@pytest.mark.parametrize(("text", "name"), BROKEN)
def test_a_call_that_cannot_be_made_is_named_with_its_reason(text: str, name: str) -> None:
    parsed = parse_calls(text, KNOWN, ORDER)
    assert parsed.calls == ()
    assert [call.name for call in parsed.broken] == [name]
    assert parsed.content == ""
    assert f"your call of {name!r} {parsed.broken[0].reason}" == parsed.complaint(KNOWN)


@pytest.mark.parametrize(("text", "cut", "whole"), CUT)
def test_a_cut_call_is_reported_and_never_made(text: str, cut: tuple[str, ...], whole: int) -> None:
    parsed = parse_calls(text, KNOWN, ORDER)
    assert parsed.cut == cut
    assert len(parsed.calls) == whole
    assert parsed.content in {"", "Hello"}
    assert "was cut before its end" in parsed.complaint(KNOWN)


@pytest.mark.parametrize(("text", "names"), UNKNOWN)
def test_an_unknown_name_is_reported_and_nothing_of_it_is_shown(
    text: str, names: tuple[str, ...]
) -> None:
    parsed = parse_calls(text, KNOWN)
    assert parsed.unknown == names
    assert (parsed.calls, parsed.content) == ((), "")
    assert f"there is no tool {names[0]!r}" in parsed.complaint(KNOWN)


FENCED = "```python\nadd(a=1, b=2)\n```"


def test_calls_in_the_fence_that_ends_a_text_count_and_say_so() -> None:
    parsed = parse_calls(f"I will.\n{FENCED}\n", KNOWN)
    assert (calls(parsed), parsed.among_prose) == (ADD, True)
    assert parsed.content == "I will."


def test_all_fences_at_the_end_count_and_none_before_words() -> None:
    parsed = parse_calls(f"So:\n{FENCED}\nNow I run it.\n{FENCED}\n\n{FENCED}", KNOWN)
    assert calls(parsed) == ADD + ADD
    assert parsed.content == f"So:\n{FENCED}\nNow I run it."


@pytest.mark.parametrize(
    "text",
    [
        f"This is how:\n{FENCED}\nPut your own numbers there.",
        f"{FENCED}\nThis would give the sum.",
        f"```python\ndef double(x):\n    return 2 * x\n```\nor\n{FENCED}",
        f"First\n```\n3\n```\nthen\n{FENCED}",
    ],
)
def test_a_call_that_is_only_explained_is_not_made(text: str) -> None:
    assert parse_calls(text, KNOWN) == Parsed(text, shown=("add",))


def test_without_tools_only_markers_mean_a_call() -> None:
    text = '{"name": "add", "arguments": {"a": 1}}'
    assert parse_calls(text, ()) == Parsed(text)
    assert parse_calls(f"[TOOL_CALLS][{text}]", ()).unknown == ("add",)


def test_two_names_that_read_alike_are_not_guessed() -> None:
    parsed = parse_calls('[TOOL_CALLS]a-b{"x": 1}', ("a.b", "a_b"))
    assert (parsed.calls, parsed.unknown) == ((), ("a-b",))


def test_a_good_call_beside_a_bad_one_is_kept() -> None:
    text = '[TOOL_CALLS][{"name": "add", "arguments": {"a": 1, "b": 2}}, oops]'
    parsed = parse_calls(text, KNOWN)
    assert calls(parsed) == ADD
    assert len(parsed.broken) == 1


def test_a_tool_with_a_namespace_in_its_own_name_is_not_taken_for_another() -> None:
    parsed = parse_calls('[TOOL_CALLS]functions.add{"a": 1}', ("add", "functions_add"))
    assert [call.name for call in parsed.calls] == ["functions_add"]
