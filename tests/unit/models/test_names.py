"""Any tool's name becomes one that Mistral's models take, and comes back as it was."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galerne.errors import ModelError
from galerne.messages.chat import ToolCall
from galerne.models.names import FUNCTION_NAME, ToolNames, sendable


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("count", "count"),
        ("math.factorial", "math_factorial"),
        ("read file", "read_file"),
        ("n" * 64, "n" * 64),
        ("\u00e9t\u00e9", "_t_"),
    ],
)
def test_the_name_that_is_sent(name: str, sent: str) -> None:
    assert sendable(name) == sent
    assert ToolNames([name]).own(sent) == name


def test_long_names_that_begin_alike_stay_apart() -> None:
    first, second = "n" * 70 + "a", "n" * 70 + "b"
    assert sendable(first) != sendable(second)
    names = ToolNames([first, second])
    assert names.own(sendable(second)) == second


@given(st.text())
def test_every_name_is_made_sendable_and_stays_so(name: str) -> None:
    sent = sendable(name)
    assert FUNCTION_NAME.fullmatch(sent)
    assert sendable(sent) == sent


@given(st.lists(st.text(min_size=1).filter(str.strip), unique=True, max_size=6))
def test_names_come_back_or_collide(names: list[str]) -> None:
    if len({sendable(name) for name in names}) < len(names):
        with pytest.raises(ModelError, match="would both be"):
            ToolNames(names)
        return
    table = ToolNames(names)
    assert [table.own(sendable(name)) for name in names] == names


def test_two_tools_that_the_model_could_not_tell_apart() -> None:
    with pytest.raises(ModelError, match=r"'math\.factorial' and 'math_factorial'") as caught:
        ToolNames(["math.factorial", "count", "math_factorial"])
    assert "rename one" in str(caught.value)


def test_a_tool_twice_or_without_a_name() -> None:
    with pytest.raises(ModelError, match="twice"):
        ToolNames(["count", "count"])
    with pytest.raises(ModelError, match="no name"):
        ToolNames([" "])


def test_an_invented_name_stays_as_the_model_wrote_it() -> None:
    names = ToolNames(["math.factorial"])
    made = (ToolCall("a", "math_factorial", "{}"), ToolCall("b", "math.sqrt", "{}"))
    assert [call.name for call in names.own_calls(made)] == ["math.factorial", "math.sqrt"]
    same = (ToolCall("a", "math.factorial", "{}"),)
    assert names.own_calls(same) is same
