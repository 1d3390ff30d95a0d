"""Executors' turns, and whole jobs played by hand over real files."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galerne.messages.chat import ChatMessage, ChatRequest, ToolCall, ToolSchema
from galerne.models.standin.answers import CallTools, Say, ToolUse
from galerne.models.standin.executing import CALLS_A_TURN
from galerne.models.standin.rules import respond
from unit.standin.prompting import TOOLS, Folder, carry_out, executor_request, play, schema

TEXTS = {
    "README.md": "# Galerne\n\nOne two three.\n",
    "docs/protocol.md": "Facts are write-once.\nNATS carries them, NATS keeps them.\n",
    "docs/adr.md": "Why NATS: one dependency.\n",
    "notes.txt": "seven words are in this short file\n",
    "empty.txt": "",
}


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    for name, text in TEXTS.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return Folder(tmp_path)


def said(instruction: str, results: Sequence[str] = (), tools: Sequence[str] = ()) -> str:
    numbered = {str(number): text for number, text in enumerate(results, 1)}
    answer = respond(executor_request(instruction, numbered, tools))
    assert isinstance(answer, Say)
    return answer.text


def done(instruction: str, folder: Folder, results: Sequence[str] = ()) -> str:
    numbered = {str(number): text for number, text in enumerate(results, 1)}
    task = {
        "kind": "agent",
        "instruction": instruction,
        "needs": list(numbered),
        "tools": list(TOOLS),
    }
    return carry_out(task, numbered, folder, respond)


def test_one_file_is_counted_by_the_tool(folder: Folder) -> None:
    words = folder.stats("README.md")["words"]
    assert done("Count the words of README.md.", folder) == f"README.md has {words} words."
    assert folder.calls == [("text_stats", {"path": "README.md"})]


def test_several_units_come_in_the_order_asked_for(folder: Folder) -> None:
    stats = folder.stats("notes.txt")
    assert done("Count the bytes, lines and words in notes.txt", folder) == (
        f"notes.txt has {stats['bytes']} bytes, 1 line and {stats['words']} words."
    )


def test_each_file_of_a_folder_is_counted_in_a_loop(folder: Folder) -> None:
    assert done("List the files in docs and count the lines of each", folder) == (
        "docs/adr.md has 1 line.\ndocs/protocol.md has 2 lines."
    )
    assert [tool for tool, _ in folder.calls] == ["list_files", "text_stats", "text_stats"]


def test_many_files_are_counted_in_batches_that_fit_an_executors_turns(tmp_path: Path) -> None:
    for number in range(CALLS_A_TURN * 3 + 1):
        (tmp_path / f"{number:03}.txt").write_text("word " * number)
    lines = done("Count the words of each file in .", Folder(tmp_path)).splitlines()
    assert lines == [
        f"{number:03}.txt has {number} word{'' if number == 1 else 's'}."
        for number in range(CALLS_A_TURN * 3 + 1)
    ]


def test_a_search_relays_the_lines(folder: Folder) -> None:
    assert done("How many lines mention NATS in docs?", folder) == (
        'docs has 2 lines that mention "NATS":\n'
        "  docs/adr.md:1: Why NATS: one dependency.\n"
        "  docs/protocol.md:2: NATS carries them, NATS keeps them."
    )
    assert done("Search for Kafka in docs", folder) == 'docs has 0 lines that mention "Kafka".'


def test_a_file_is_read(folder: Folder) -> None:
    assert done("Show the first line of README.md", folder) == "README.md says:\n# Galerne\n"
    assert done("Read empty.txt", folder) == "empty.txt is empty there."


def test_arithmetic_is_the_tools(folder: Folder) -> None:
    assert done("Compute 2**64 / 3.", folder) == "2**64 / 3 = 18446744073709551616/3."
    value = '{"expression": "2**64 / 3", "value": "18446744073709551616/3"}'
    assert done("Add 1 to the result.", folder, [value]) == (
        "(18446744073709551616/3) + 1 = 18446744073709551619/3."
    )


@pytest.mark.parametrize(
    ("instruction", "error"),
    [
        ("Count the words of nowhere.txt.", "text_stats failed for nowhere.txt: No such file"),
        ("Read nowhere.txt.", "read_file failed for nowhere.txt: No such file"),
        ("Search for x in nowhere.txt", "search_files failed for nowhere.txt: No such file"),
        ("Compute 1/0", "calculate failed for 1/0: division by zero"),
    ],
)
def test_a_tools_error_is_said_plainly(folder: Folder, instruction: str, error: str) -> None:
    text = done(instruction, folder).replace("Error: ", "")
    assert text.startswith("I cannot: the tool ")
    assert error in text


def test_without_the_tool_it_cannot(folder: Folder) -> None:
    text = said("Count the words of a.txt. The tool text_stats is missing.", tools=["calculate"])
    assert text == "I cannot: that takes the tool text_stats, which I was not given."
    assert "text_stats" in said("Count the words of a.txt.")


@pytest.mark.parametrize("instruction", ["Write a poem.", "", "# Task", "Translate a.txt"])
def test_what_no_rule_reads_it_cannot(instruction: str) -> None:
    assert said(instruction).startswith("I cannot: the stand-in model only knows how to count")


def test_arguments_follow_the_tools_schema() -> None:
    odd = ToolSchema("text_stats", "", {"properties": {"file": {}}, "required": ["file"]})
    request = executor_request("Count the words of a.txt.")
    answer = respond(ChatRequest(request.messages, (odd,)))
    assert answer == Say("I cannot: the tool text_stats wants 'file', which I know nothing of.")
    bare = ChatRequest(request.messages, (ToolSchema("text_stats", "", {}),))
    assert respond(bare) == CallTools((ToolUse("text_stats", {"path": "a.txt"}),))
    narrow = schema("search_files", ["text"])
    asked = executor_request("Search for x in docs")
    assert respond(ChatRequest(asked.messages, (narrow,))) == CallTools(
        (ToolUse("search_files", {"text": "x"}),)
    )


def test_a_call_that_was_broken_on_its_way_is_made_again(folder: Folder) -> None:
    turns = [
        ChatMessage("assistant", tool_calls=(ToolCall("aaaaaaaaa", "text_stats", '{"path": '),)),
        ChatMessage("tool", "Error: the arguments are not valid JSON", tool_call_id="aaaaaaaaa"),
    ]
    answer = respond(executor_request("Count the words of README.md.", turns=turns))
    assert answer == CallTools((ToolUse("text_stats", {"path": "README.md"}),))


def test_no_tool_is_called_where_none_may_be() -> None:
    request = executor_request("Count the words of a.txt.")
    answer = respond(ChatRequest(request.messages, request.tools, "none"))
    assert isinstance(answer, Say)


def test_any_forces_a_call_as_a_grammar_would() -> None:
    tool = ToolSchema(
        "ping",
        "",
        {
            "properties": {
                "name": {"type": "string"},
                "times": {"type": "integer", "minimum": 1},
                "how": {"enum": ["fast"]},
            },
            "required": ["name", "times", "how"],
        },
    )
    request = ChatRequest((ChatMessage("user", "Hello"),), (tool,), "any")
    expected = {"name": "text", "times": 1, "how": "fast"}
    assert respond(request) == CallTools((ToolUse("ping", expected),))


def has(name: str, count: int, unit: str = "words") -> str:
    return f"{name} has {count} {unit}."


@pytest.mark.parametrize(
    ("instruction", "results", "sentence"),
    [
        (
            "Say which is longer.",
            [has("a", 312), has("b", 400)],
            "b is longer than a: 400 words against 312.",
        ),
        (
            "Say which is the shortest.",
            [has("a", 9), has("b", 10), has("c", 100)],
            "a is the shortest: 9 words, against 10 (b) and 100 (c).",
        ),
        (
            "Say which is longer.",
            [has("a", 7), has("b", 7)],
            "a and b are equally long: 7 words each.",
        ),
        (
            "Say which is the longest.",
            [has("a", 7), has("b", 3), has("c", 7)],
            "a and c are equally long and the longest: 7 words each, against 3 (b).",
        ),
        (
            "Say which has more.",
            [has("a", 2, "lines"), has("b", 1, "lines")],
            "a has more lines than b: 2 against 1.",
        ),
        (
            "Say which has the fewest.",
            [has("a", 2), has("b", 1), has("c", 1)],
            "b and c share the fewest words: 1 each, against 2 (a).",
        ),
        (
            "Say which has the most.",
            [has("a", 5), has("b", 5)],
            "a and b have equally many words: 5 each.",
        ),
        (
            "Say which is longer, by lines.",
            ["a has 1 line and 9 words.", "b has 2 lines and 3 words."],
            "b is longer than a: 2 lines against 1.",
        ),
        (
            "Say which is longer.",
            ["a has 1 line and 9 words.", "b has 2 lines and 3 words."],
            (
                "By lines: b is longer than a: 2 lines against 1.\n"
                "By words: a is longer than b: 9 words against 3."
            ),
        ),
        (
            "Rank the results from most to least.",
            [has("a", 5), has("b", 50), has("c", 5)],
            "Ranked by words, from most to least: b (50), a and c (5 each).",
        ),
        (
            "Say which is larger.",
            ['{"expression": "1/3", "value": "1/3"}', '{"expression": "0.3", "value": "0.3"}'],
            "1/3 is larger than 0.3: 1/3 against 0.3.",
        ),
        (
            "Say which is larger.",
            [
                '{"path": "a", "words": 1, "lines": 2, "characters": 3, "bytes": 4}',
                '{"path": "b", "words": 1, "lines": 2, "characters": 3, "bytes": 5}',
            ],
            (
                "By words: a and b are equally large: 1 word each.\n"
                "By lines: a and b are equally large: 2 lines each.\n"
                "By characters: a and b are equally large: 3 characters each.\n"
                "By bytes: b is larger than a: 5 bytes against 4."
            ),
        ),
    ],
)
def test_numbers_are_compared(instruction: str, results: list[str], sentence: str) -> None:
    assert said(instruction, results) == sentence


@pytest.mark.parametrize(
    ("instruction", "results"),
    [
        ("Say which is longer.", [has("a", 1), has("b", 2, "lines")]),
        ("Say which is longer.", [has("a", 1)]),
        ("Say which is longer.", []),
        ("Say which is longer.", [has("a", 1), "I cannot: the tool failed.", has("c", 3)]),
        ("Say which is longer.", [has("a", 1), has("b", 2) + "\nI cannot: the tool failed."]),
        ("Say which is longer.", [has("a", 1), "b.txt says:\nb has 2 words."]),
        ("Calculate the total of the results.", []),
        ("Calculate the difference of the results.", [has("a", 1)]),
        ("Add 1 to the result.", [has("a", 1), has("b", 2)]),
    ],
)
def test_numbers_that_do_not_compare_are_refused(instruction: str, results: list[str]) -> None:
    assert said(instruction, results, list(TOOLS)).startswith("I cannot: ")


@pytest.mark.parametrize(
    ("instruction", "results", "sentence"),
    [
        (
            "Calculate the total of the results.",
            [has("a", 312), has("b", 20), "docs has 2 files: x and y."],
            "The total of a and b is 332 words.",
        ),
        (
            "Calculate the average of the results.",
            [has("a", 1), has("b", 2), has("c", 4)],
            "The average of a, b and c is 7/3 words.",
        ),
        (
            "Calculate the difference of the results.",
            [has("a", 1), has("b", 22), has("c", 4)],
            "The difference between b and a is 21 words.",
        ),
        ("Add 5 to the result.", [has("a", 312)], "312 + 5 = 317 words."),
        ("Divide the result by 2.", ["The total of a and b is 5 words."], "5 / 2 = 5/2 words."),
    ],
)
def test_numbers_are_combined_by_the_tool(
    folder: Folder, instruction: str, results: list[str], sentence: str
) -> None:
    assert done(instruction, folder, results) == sentence
    assert {tool for tool, _ in folder.calls} == {"calculate"}


COUNTS = st.lists(st.integers(0, 10**24), min_size=2, max_size=12)


@given(COUNTS, st.sampled_from(["longest", "shortest"]))
def test_the_one_that_stands_out_is_the_right_one(counts: list[int], word: str) -> None:
    results = [has(f"f{n}.txt", count) for n, count in enumerate(counts)]
    text = said(f"Say which is the {word}.", results)
    best = max(counts) if word == "longest" else min(counts)
    for number, count in enumerate(counts):
        assert (f"f{number}.txt" in text.split(":")[0].split(" than ")[0]) == (count == best)


@given(COUNTS)
def test_a_ranking_has_everything_in_order(counts: list[int]) -> None:
    results = [has(f"f{n}.txt", count) for n, count in enumerate(counts)]
    text = said("Rank the results from most to least.", results)
    order = sorted(range(len(counts)), key=lambda n: -counts[n])
    places = [text.index(f"f{n}.txt") for n in order]
    assert places == sorted(places)


PIECES = st.lists(
    st.sampled_from(
        [
            *("count", "the words", "of", "a.txt", "each", "files", "in", "docs", "*.md", "it"),
            *("search for", '"x"', "read", "lines 2 to 9", "compute", "1/0", "2**9", "which"),
            *("is longer", "total", "average", "add 1", "divide", "sort", ",", ".", "then", "and"),
        ]
    ),
    max_size=14,
).map(" ".join)
RESULTS = st.lists(
    st.sampled_from(
        [
            *("a has 1 word.", "a has 5 words and 2 lines.", "I cannot: no.", "1/3 = 0.", "{}"),
            *("The total of a is 1/0 words.", '{"expression": "1", "value": "1"}', "b says:\nx"),
        ]
    )
    | st.text(max_size=20),
    max_size=4,
)
CONTENTS = st.sampled_from(
    [
        *("[]", '["a.txt"]', "{}", "text", "Error: no", '{"value": "7"}', '{"value": 7}', "[1]"),
        *('{"words": 3, "lines": null}', "", "[[", '[{"path": 1}]', '{"words": true}'),
    ]
)


@given(PIECES | st.text(max_size=60), RESULTS, st.lists(CONTENTS, max_size=6))
def test_any_conversation_gets_an_answer(
    instruction: str, results: list[str], contents: list[str]
) -> None:
    """Whatever tools answer, the executor goes on or ends; it never repeats a call."""
    numbered = {str(number): text for number, text in enumerate(results)}
    turns: list[ChatMessage] = []
    made: list[ToolUse] = []
    for number, content in enumerate(contents):
        answer = respond(executor_request(instruction, numbered, turns=turns))
        if isinstance(answer, Say):
            assert answer.text
            return
        assert not any(use in made for use in answer.uses)
        made += answer.uses
        for place, use in enumerate(answer.uses):
            arguments = msgspec.json.encode(use.arguments).decode()
            call = ToolCall(f"c{number:04}{place:04}", use.tool, arguments)
            turns.append(ChatMessage("assistant", tool_calls=(call,)))
            turns.append(ChatMessage("tool", content, tool_call_id=call.id))


def test_thousands_of_numbers_are_ranked() -> None:
    results = [has(f"f{n}.txt", n) for n in range(6000)]
    text = said("Rank the results from least to most.", results)
    assert text.startswith("Ranked by words, from least to most: f0.txt (0), f1.txt (1), ")


FILES = ["README.md", "docs/protocol.md", "docs/adr.md", "notes.txt"]


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("word", ["longer", "shortest", "most", "fewest"])
def test_a_whole_job_tells_the_truth(folder: Folder, count: int, word: str) -> None:
    names = FILES[:count]
    words = {name: folder.stats(name)["words"] for name in names}
    goal = f"Count the words in {' and in '.join(names)}, then say which is {word}"
    results, answer = play(goal, folder)
    for name in names:
        assert f"{name} has {words[name]} words." in answer
    conclusion = results[str(count + 1)]
    if count == 1:
        assert conclusion.startswith("I cannot: there are not two numbers")
    else:
        wanted = max if word in {"longer", "most"} else min
        assert conclusion.startswith(wanted(words, key=lambda name: words[name]))
    assert conclusion in answer
    assert answer.endswith("\n\n(stand-in model: rule-based, no LLM)")


def test_a_whole_job_with_arithmetic(folder: Folder) -> None:
    words = [folder.stats(name)["words"] for name in FILES]
    goal = f"How many words do {', '.join(FILES)} have in total? Divide it by 4. Compute 6 * 7."
    _, answer = play(goal, folder)
    assert f" is {sum(words)} words." in answer
    assert f"{sum(words)} / 4 = " in answer
    assert "6 * 7 = 42." in answer


def test_the_element_of_a_list_is_no_result_of_another_task() -> None:
    numbers = {"1": "a.txt has 3 words.", "2": "b.txt has 5 words."}
    task = "Say which is longer."
    with_element = executor_request(task, {**numbers, "item": "c.txt"})
    assert respond(with_element) == respond(executor_request(task, numbers))
