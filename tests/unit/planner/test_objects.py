import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galerne.planner.objects import (
    MAX_CHARACTERS,
    MAX_DEPTH,
    BrokenObject,
    Found,
    JsonObject,
    ObjectScanner,
)


def scan(*pieces: str) -> list[Found]:
    scanner = ObjectScanner()
    found = [one for piece in pieces for one in scanner.feed(piece)]
    return found + scanner.finish()


def values(text: str) -> list[dict[str, Any]]:
    found = scan(text)
    assert all(isinstance(one, JsonObject) for one in found), found
    return [one.value for one in found if isinstance(one, JsonObject)]


def broken(text: str) -> list[BrokenObject]:
    return [one for one in scan(text) if isinstance(one, BrokenObject)]


A = '{"id": "1", "args": {"path": "a {b} \\" }"}}'
B = '{"id": "2", "needs": ["1"]}'
AB = [json.loads(A), json.loads(B)]


@pytest.mark.parametrize(
    "text",
    [
        f"{A}\n{B}\n",
        f"{A}{B}",
        f"[{A}, {B}]",
        f"[\n  {A},\n  {B}\n]",
        f'{{"tasks": [{A}, {B}]}}',
        f'{{"plan": [{A}, {B}]}}',
        f'{{"goal": "say {{hi}}", "extra": {{"x": [1]}}, "tasks": [{A}, {B}], "n": {{"a": 1}}}}',
        f"Here is it: \n```json\n{A}\n{B}\n```\nIt doesn't {{wait}}; {{{{1}}}} is used.",
        f"1. {A}\n2. {B}\nThat's all.",
        f'{{"tasks": [{A}\nOne more: {B}',
        json.dumps(AB, indent=2),
        json.dumps({"tasks": AB}, indent=4),
        f"{{{A}}}\n{{{B}}}",  # doubled braces, copied from a template
    ],
)
def test_objects_are_found_in_every_wrapping(text: str) -> None:
    assert values(text) == AB


def test_an_object_comes_with_its_last_character() -> None:
    scanner = ObjectScanner()
    assert scanner.feed('{"tasks": [' + A[:-1]) == []
    assert scanner.feed(A[-1]) == [JsonObject(AB[0], A)]
    assert scanner.feed(f", {B}") == [JsonObject(AB[1], B)]


def test_a_list_named_plan_inside_a_task_does_not_open_it() -> None:
    task = {"id": "1", "plan": [{"a": 1}]}
    assert values(json.dumps(task)) == [task]


def test_raw_line_breaks_and_markdown_escapes_are_mended() -> None:
    text = '{"id": "1", "tool": "read\\_file", "instruction": "one\n\ttwo \\\\_ \\"q\\" it\\\'s"}'
    assert values(text) == [
        {"id": "1", "tool": "read_file", "instruction": 'one\n\ttwo \\_ "q" it\'s'}
    ]


@pytest.mark.parametrize(
    ("text", "lost", "reason"),
    [
        ("{'id': '1'}", "{'id': '1'}", "not valid JSON"),
        ('{"id": "1",}', '{"id": "1",}', "not valid JSON"),
        ('{"id": "1", "needs": ["2"}', '{"id": "1", "needs": ["2"}', "not valid JSON"),
        ('{"id": "1", "args": {"path": "x"}', '{"id": "1", "args": {"path": "x"}', "not closed"),
        ('{"id": "1", "instruction": "x}', '{"id": "1", "instruction": "x}', "not closed"),
        ('{"id": NaN}', '{"id": NaN}', "not valid JSON"),
        ('{"id": "\\ud800"}', '{"id": "\\ud800"}', "not valid JSON"),
    ],
)
def test_a_broken_object_is_reported_and_the_next_one_is_saved(
    text: str, lost: str, reason: str
) -> None:
    found = scan(f"{text}\n{B}\n")
    assert isinstance(found[0], BrokenObject)
    assert found[0].text == lost
    assert reason in found[0].reason
    assert "\n" not in found[0].reason
    assert found[1:] == [JsonObject(AB[1], B)]


def test_the_end_of_the_text_breaks_what_is_open() -> None:
    assert [one.reason for one in broken(A + B[:-1])] == ["the text ends inside this object"]


def test_a_scanner_begins_anew_after_the_end() -> None:
    scanner = ObjectScanner()
    scanner.feed('{"id": "open')
    scanner.finish()
    assert scanner.feed(B) == [JsonObject(AB[1], B)]


def test_a_lone_surrogate_in_the_text_is_broken_and_can_be_written_down() -> None:
    (one,) = broken('{"id": "\ud800"}')
    assert one.text.encode().startswith(b'{"id": "')


def test_an_object_that_is_too_large_is_reported_once_and_skipped() -> None:
    large = json.dumps({"id": "9", "text": 'x{"' * MAX_CHARACTERS, "more": {"a": [1]}})
    found = scan(large, B)
    assert isinstance(found[0], BrokenObject)
    assert len(found[0].text) <= MAX_CHARACTERS + 1
    assert found[1:] == [JsonObject(AB[1], B)]


def test_an_object_that_is_too_deep_is_reported_once_and_skipped() -> None:
    deep = '{"a": ' * (MAX_DEPTH + 5) + "1" + "}" * (MAX_DEPTH + 5)
    found = scan(deep + B)
    assert [type(one) for one in found] == [BrokenObject, JsonObject]


def test_no_more_than_one_object_is_ever_held() -> None:
    scanner = ObjectScanner()
    held = 0
    for piece in ['{"a": "' + "x" * 1000] + ["y" * 10_000] * 100:
        scanner.feed(piece)
        held = max(held, scanner.held)
    assert 0 < held <= MAX_CHARACTERS + 1


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
tasks = st.dictionaries(st.text(), json_values, max_size=4).map(lambda task: {"id": "1", **task})
prose = st.text(alphabet=st.characters(exclude_characters="{}", exclude_categories=["Cs"]))


def cut(text: str, places: list[int]) -> list[str]:
    edges = sorted({0, len(text), *(place % (len(text) + 1) for place in places)})
    return [text[start:end] for start, end in pairwise(edges)]


@given(st.lists(st.tuples(prose, tasks), max_size=5), prose, st.lists(st.integers(0, 10**6)))
def test_any_objects_between_any_prose(
    parts: list[tuple[str, dict[str, Any]]], last: str, places: list[int]
) -> None:
    text = "".join(before + json.dumps(task) for before, task in parts) + last
    assert values(text) == [task for _, task in parts]
    assert scan(*cut(text, places)) == scan(text)


@given(st.lists(tasks, max_size=5), st.sampled_from([None, 2]), st.booleans())
def test_documents_of_any_tasks(
    all_tasks: list[dict[str, Any]], indent: int | None, envelope: bool
) -> None:
    document = {"tasks": all_tasks} if envelope else all_tasks
    assert values(json.dumps(document, indent=indent, ensure_ascii=False)) == all_tasks


@given(
    st.lists(
        st.sampled_from(
            [*'{}[]":,\\ \n1a', '{"', '"tasks": [', '"id": "1"', '{"id": "2"}', "{{", "\ud800"]
        ),
        max_size=60,
    ),
    st.lists(st.integers(0, 10**6)),
)
def test_nonsense_never_raises_and_pieces_do_not_matter(parts: list[str], at: list[int]) -> None:
    text = "".join(parts)
    whole = scan(text)
    assert scan(*cut(text, at)) == whole
    assert scan(*text) == whole


@given(st.lists(tasks, max_size=5), st.sampled_from(["tasks", "steps"]))
def test_documents_in_a_document(all_tasks: list[dict[str, Any]], key: str) -> None:
    document = {"goal": "so", "plan": {key: all_tasks, "why": {"a": 1}}, "note": {"b": 2}}
    assert values(json.dumps(document)) == all_tasks
    assert values(json.dumps({"plan": {"id": "1", "kind": "agent"}})) == [
        {"id": "1", "kind": "agent"}
    ]
