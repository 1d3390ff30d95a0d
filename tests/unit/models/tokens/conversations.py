"""Conversations for the tests of tokens: as agents have them, and as nobody should."""

from collections.abc import Sequence

from hypothesis import strategies as st

from galerne.messages.chat import ChatMessage, ToolCall, ToolSchema
from galerne.models.conversation import obey_rules

PROSE = (
    "The planner breaks a job into tasks, and each task goes to whoever is free. What has been "
    "finished is never done again, whatever dies in between. "
)
TOOL = ToolSchema(
    "read_file",
    "Read a text file under the root.",
    {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
)
SYSTEM = ChatMessage("system", "You carry out one task of a larger job.")
TASK = ChatMessage("user", "# Task\nSay which of the files is about whales.")


def words(count: int, seed: int = 0) -> str:
    """So many words of prose; another `seed` begins elsewhere in it."""
    known = PROSE.split()
    return " ".join(known[(seed + n) % len(known)] for n in range(count))


def reading(number: int, size: int, results: int = 1) -> tuple[ChatMessage, ...]:
    """One round of an agent: `results` files read, with `size` words each."""
    calls = tuple(
        ToolCall(f"c{number:04}{n:04}", "read_file", f'{{"path": "{number}-{n}.txt"}}')
        for n in range(results)
    )
    told = [
        ChatMessage("tool", words(size, number + n), tool_call_id=call.id, name=call.name)
        for n, call in enumerate(calls)
    ]
    return (ChatMessage("assistant", tool_calls=calls), *told)


def dialogue(*sizes: int) -> tuple[ChatMessage, ...]:
    """A task, and a round for each size."""
    rounds = [turn for number, size in enumerate(sizes) for turn in reading(number, size)]
    return obey_rules([SYSTEM, TASK, *rounds])


texts = st.builds(words, st.integers(0, 400), st.integers(0, 20)) | st.text(max_size=300)
calls = st.lists(
    st.builds(
        ToolCall,
        st.text("abc123", min_size=9, max_size=9),
        st.sampled_from(["read_file", "list_files", "word_count"]),
        st.sampled_from(["{}", '{"path": "a.txt"}', '{"path":"a.txt","lines":[1,22,333]}']),
    ),
    min_size=1,
    max_size=3,
).map(tuple)
turns = st.one_of(
    st.builds(ChatMessage, st.just("user"), texts),
    st.builds(ChatMessage, st.just("assistant"), texts),
    st.builds(ChatMessage, st.just("assistant"), st.just(""), calls),
    st.builds(ChatMessage, st.just("tool"), texts),
)


@st.composite
def histories(draw: st.DrawFn) -> tuple[ChatMessage, ...]:
    """Whatever may have been said after a task, and may be sent."""
    told: Sequence[ChatMessage] = draw(st.lists(turns, max_size=12))
    last = ChatMessage("tool", draw(texts)) if draw(st.booleans()) else ChatMessage("user", "Go.")
    return obey_rules([SYSTEM, TASK, *told, last])
