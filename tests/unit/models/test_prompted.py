"""Tools in words: what the model reads, and that any history stays sendable."""

from collections.abc import Sequence
from itertools import pairwise

from hypothesis import given

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
        "user", f"Result of math_factorial: 6\n\nResult of count: Error: no file\n\n{GO_ON}"
    )


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
