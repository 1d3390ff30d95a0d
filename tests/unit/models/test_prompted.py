"""Tools in words: what the model reads, and that any history stays sendable."""

from collections.abc import Sequence
from itertools import pairwise

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from galerne.errors import ModelError
from galerne.messages.chat import ChatMessage, OneTool, ToolCall, ToolChoice, ToolSchema
from galerne.models.conversation import obey_rules
from galerne.models.mending import Offered
from galerne.models.prompted import GO_ON, HOW, MUST_CALL, MUST_NOT_CALL, prompted
from galerne.models.repair import parse_calls
from unit.models.test_conversation_rules import histories, validated

COUNT = ToolSchema("count", "Counts.", {"type": "object", "properties": {}})
DOTTED = ToolSchema("math.factorial", "n!", {"type": "object", "properties": {"n": {}}})
TOOLS = (COUNT, DOTTED)
USER = ChatMessage("user", "Do it.")
HISTORY = obey_rules(
    (
        ChatMessage("system", "Be brief."),
        USER,
        ChatMessage(
            "assistant",
            tool_calls=(ToolCall("1", "math.factorial", '{"n": 3}'), ToolCall("2", "count", "{}")),
        ),
        ChatMessage("tool", "6", tool_call_id="1", name="math.factorial"),
        ChatMessage("tool", "Error: no file", tool_call_id="2", name="count"),
    )
)


def test_the_tools_stand_in_the_system_message_and_calls_as_the_model_writes_them() -> None:
    system, user, asked, results = prompted(HISTORY, TOOLS, "auto")
    assert system.content.startswith(f"Be brief.\n\n{HOW}" + '{"name":"count","description":')
    assert '"name":"math_factorial"' in system.content
    assert user == USER
    assert asked == ChatMessage(
        "assistant",
        '[{"name":"math_factorial","arguments":{"n": 3}},{"name":"count","arguments":{}}]',
    )
    assert results == ChatMessage(
        "user",
        "Result of math_factorial:\n```\n6\n```\n\n"
        f"Result of count:\n```\nError: no file\n```\n\n{GO_ON}",
    )


def _told(first: str, second: str) -> str:
    """What a model without tools reads of two results."""
    turns = list(HISTORY)
    turns[3] = msgspec.structs.replace(turns[3], content=first)
    turns[4] = msgspec.structs.replace(turns[4], content=second)
    return prompted(turns, TOOLS, "auto")[-1].content


_hostile = st.lists(
    st.sampled_from(
        ["```", "````", "`", "\n", "\n\n", "Result of count:", "\n```\n", GO_ON, MUST_CALL, "a"]
    ),
    max_size=8,
).map("".join)


@given(_hostile, _hostile)
def test_a_result_cannot_end_its_fence_and_speak_as_the_user(first: str, second: str) -> None:
    """A reader who knows nothing but the fences finds just these two results again."""
    left = _told(first, second)
    for name, content in (("math_factorial", first), ("count", second)):
        head, _, left = left.partition("\n")
        assert head == f"Result of {name}:"
        fence, _, left = left.partition("\n")
        assert set(fence) == {"`"}
        assert len(fence) >= 3
        found, closing, left = left.partition(f"\n{fence}\n\n")
        assert (found, closing) == (content, f"\n{fence}\n\n")
    assert left == GO_ON


def test_what_the_history_shows_is_what_the_parser_reads() -> None:
    offered = Offered.of(TOOLS, "auto")
    written = prompted(HISTORY, TOOLS, "auto")[2].content
    parsed = parse_calls(written, offered.names, offered.parameters)
    assert [(call.name, call.arguments) for call in parsed.calls] == [
        ("math_factorial", {"n": 3}),
        ("count", {}),
    ]
    assert parsed.content == ""


def test_the_example_in_the_instructions_is_no_call_of_a_real_tool() -> None:
    assert parse_calls(HOW, ("count",)).calls == ()


def test_the_choice_is_said_last() -> None:
    words: dict[ToolChoice, str] = {
        "auto": GO_ON,
        "any": MUST_CALL,
        "none": MUST_NOT_CALL,
        OneTool("math.factorial"): (
            "Now call the tool math_factorial: answer with the JSON list of this call."
        ),
    }
    for choice, said in words.items():
        assert prompted(HISTORY, TOOLS, choice)[-1].content.endswith(said)
    assert prompted((USER,), TOOLS, "auto")[-1] == USER


def test_where_no_tool_may_be_called_none_is_told_of() -> None:
    assert prompted((USER,), TOOLS, "none") == (USER,)
    assert prompted(HISTORY, TOOLS, "none")[0].content == "Be brief."
    assert prompted((USER,), (), "any") == (USER,)


def test_the_beginning_stays_the_same_from_turn_to_turn() -> None:
    """So that a back end's prefix cache goes on working."""
    shorter, longer = prompted(HISTORY[:2], TOOLS, "auto"), prompted(HISTORY, TOOLS, "auto")
    assert longer[: len(shorter)] == shorter


@given(histories)
def test_any_history_is_sendable_in_words(history: Sequence[ChatMessage]) -> None:
    try:
        obeyed = obey_rules(history)
    except ModelError:
        return
    for choice in ("auto", "any", "none", OneTool("count")):
        turns = prompted(obeyed, TOOLS, choice)
        validated(turns)
        assert obey_rules(turns) == turns
        assert not any(turn.tool_calls or turn.role == "tool" for turn in turns)
        talk = [turn.role for turn in turns if turn.role != "system"]
        assert talk[0] == talk[-1] == "user"
        assert all(one != other for one, other in pairwise(talk))
