from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galerne.core.refs import parsed, resolve
from galerne.errors import InvalidInputError
from galerne.planner.refs import holds_reference, referenced_tasks

RESULTS: dict[str, Any] = {
    "1": "plain",
    "2": {"words": 7, "by line": [1, {"path": "b.txt"}], "0": "zero"},
    "3": '{"total": 2.5, "names": ["x", "y"]}',
    "4": 'Here:\n```json\n{"a": 1}\n```',
    "5": '```json\n{"a": [10, 20]}\n```\n',
    "6": [{"path": "a"}, None],
    "7": "say {{1}}",
}


@pytest.mark.parametrize(
    ("args", "resolved"),
    [
        ({"x": {"$ref": "2"}}, {"x": RESULTS["2"]}),
        ({"x": {"$ref": 1}}, {"x": "plain"}),
        ({"$ref": "2.words"}, 7),
        ({"$ref": "2.by line.1.path"}, "b.txt"),
        ({"$ref": "2.0"}, "zero"),
        ({"$ref": "6.0.path"}, "a"),
        ({"$ref": "6.-1"}, None),
        ({"$ref": "3.names.1"}, "y"),
        ({"$ref": "5.a.0"}, 10),
        ({"$ref": "3"}, RESULTS["3"]),
        ([1, True, None, 2.5, ["{{1}}"]], [1, True, None, 2.5, ["plain"]]),
        ("{{1}} and {{ 2.words }}, {{3.total}}", "plain and 7, 2.5"),
        ("{{2.by line}}", '[1,{"path":"b.txt"}]'),
        ("{{6.1}}", "null"),
        ("{{7}}", "say {{1}}"),  # what is inserted is not read again
        ("{not} {{}} {{ two words }} {{a!}}", "{not} {{}} {{ two words }} {{a!}}"),
        ({"{{1}}": "name"}, {"{{1}}": "name"}),
    ],
)
def test_references_are_replaced(args: Any, resolved: Any) -> None:
    assert resolve(args, RESULTS) == resolved


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        ({"$ref": "9"}, "9 refers to a task that is not among"),
        ("{{9.x}}", "9.x refers to a task"),
        ({"$ref": "2.lines"}, "2.lines: there is no 'lines', only words, by line, 0"),
        ({"$ref": "6.2"}, "'2' is no index of 2 items"),
        ({"$ref": "6.-3"}, "'-3' is no index of 2 items"),
        ({"$ref": "6.first"}, "'first' is no index"),
        ({"$ref": "1.x"}, "has no parts"),
        ({"$ref": "4.a"}, "has no parts"),
        ({"$ref": "2.words.x"}, "has no parts"),
        ({"$ref": ""}, "no reference"),
        ({"$ref": True}, "no reference"),
        ({"$ref": ["1"]}, "no reference"),
        ({"$ref": "1", "else": 2}, "stands alone"),
    ],
)
def test_a_missing_part_is_named(args: Any, reason: str) -> None:
    with pytest.raises(InvalidInputError) as raised:
        resolve({"x": [args]}, RESULTS)
    assert reason in str(raised.value)


@pytest.mark.parametrize(
    ("begin", "piece"), [("```", "\n"), ("```json\n", "\n```"), ("\n", "```\n"), ("", " \n")]
)
def test_a_hostile_result_is_looked_into_in_linear_time(begin: str, piece: str) -> None:
    text = begin + piece * 50_000 + "x"
    assert parsed(text) == text


@pytest.mark.parametrize("begin", ["{{", "{{a", "{{a.", "{{a.b."])
def test_a_hostile_text_is_searched_for_references_in_linear_time(begin: str) -> None:
    assert referenced_tasks(begin + " " * 200_000) == ()


def test_the_tasks_that_are_referred_to() -> None:
    args = {"a": {"$ref": "2.x"}, "b": ["{{10}} {{2}}", {"c": {"$ref": 7}}], "d": 5}
    assert referenced_tasks(args) == ("2", "10", "7")


def test_only_texts_and_references_are_of_any_type() -> None:
    assert holds_reference("x {{1}}")
    assert holds_reference({"$ref": "1"})
    assert not holds_reference("{{two words}}")
    assert not holds_reference(["{{1}}"])
    assert not holds_reference(5)


plain = st.recursive(
    st.none() | st.integers() | st.text(alphabet=st.characters(exclude_characters="{")),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from("abc"), inner),
    max_leaves=10,
)


@given(plain)
def test_what_holds_no_reference_stays_as_it_is(value: Any) -> None:
    assert resolve(value, {}) == value
    assert referenced_tasks(value) == ()


@given(plain)
def test_a_whole_reference_is_the_value_itself(value: Any) -> None:
    assert resolve({"x": {"$ref": "t-1"}}, {"t-1": value}) == {"x": value}
