"""Numbers of a text, looked for in results."""

import string
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from galerne.core.grounding import (
    MOST_PAIRS,
    MOST_READ,
    MOST_RECKONED,
    Sources,
    remark,
    unsupported,
)
from galerne.core.refs import parsed

COUNTED = {"path": "a.md", "words": 388, "lines": 18}
OTHER = {"path": "b.md", "words": 314, "lines": 26}


@pytest.mark.parametrize(
    ("text", "not_said"),
    [
        ("a.md has 388 words and b.md 314.", ()),
        ("Together they have 302 words.", ("302",)),
        ("Together they have 702 words, 351 on average.", ()),
        ("a.md has 74 words more, 23.6% more, or 1.24 times as many.", ()),
        ("a.md has 388.0 words in -18 lines.", ()),
        ("388 and 44 lines", ()),
        ("388 words + 26 lines = 414", ("414",)),  # of two names
        ("It has 1,388 words.", ("1,388",)),
        ("10 of them, and 10 more", ("10",)),
        ("Both of the 2 files", ()),
        ("None, so 0", ()),
        ("1. a.md\n2) b.md\n 3. c.md", ()),
        ("as task 7 says [7] [8, 9]", ()),
        ("v1.2.3, x86, 5km, 2026-11-22, 10:30, 3-4, a/17, #99, \\7, 0012", ()),
        ({"total": 702, "mean": 351.0, "of": "files"}, ()),
        ({"total": 700}, ("700",)),
        (702, ()),
        (None, ()),
        ("", ()),
    ],
)
def test_a_number_is_said_or_follows_from_numbers_of_one_name(
    text: Any, not_said: tuple[str, ...]
) -> None:
    assert unsupported(text, Sources((COUNTED, OTHER))) == not_said


@pytest.mark.parametrize(
    ("result", "text", "is_said"),
    [
        (["a", "b", "0010-retention", "c"], "There are 4.", True),
        (["a", "b", "0010-retention", "c"], "There are 10.", False),
        ('["a", "b", "c"]', "There are 3.", True),
        ('```json\n{"sum": 3.14159}\n```', "It is 3.14, about 3.", True),
        ({"sum": 3.14159}, "It is 3.15.", False),
        ("The ship has nine masts and 1,204 t.", "9 masts, 1204 t", True),
        ("due 2026-11-02", "2 November 2026", True),
        ({"share": 0.256}, "25.6%, or 26%", True),
        ({"share": 0.256}, "25.6 of them", False),
        ({"rate": "12"}, "12", True),
        ({"2019": "x"}, "in 2019", True),
        ({"ok": True, "none": None}, "1", True),  # one result
        ([{"n": 1}, {"n": 2}, {"n": 4}], "7 in all", True),
        ({"$blob": "x", "size": 70_000}, "70000 bytes", True),
        (1e300, "1e300", True),  # no plain number
        ("one\ntwo\nthree of it\n", "3 lines", True),
        ("one\ntwo\n", "10 lines", False),
    ],
)
def test_what_results_say(result: Any, text: str, is_said: bool) -> None:
    assert (unsupported(text, Sources((result,))) == ()) == is_said


def test_among_many_numbers_only_their_sum_and_mean_follow() -> None:
    many = Sources([[{"n": 1000 + n} for n in range(MOST_PAIRS + 1)]])
    assert unsupported("41820 in all, 1020 on average, 2001 of two", many) == ("2001",)


def test_what_was_asked_may_be_repeated() -> None:
    sources = Sources((COUNTED,), ("Is it longer than 500 words?",))
    assert unsupported("No: 388, which is less than 500.", sources) == ()
    assert not Sources(("a text of 7 words",)).have_figures
    assert Sources(({"n": "7"},)).have_figures


def test_what_an_earlier_task_has_made_up_is_not_supported_by_its_result() -> None:
    sources = Sources((COUNTED, "302"))
    assert unsupported("302 words", sources) == ()
    assert unsupported("302 words", sources, ("302",)) == ("302",)
    assert unsupported("388 words", sources, ("302", "nonsense", "")) == ()


def test_people_are_told_in_one_line() -> None:
    assert remark(("302", "7")) == "no tool's result says 302, 7: the model's own word"
    assert remark(("9,999", "7")) == "no tool's result says 9,999; 7: the model's own word"
    assert remark(tuple("123456789")).startswith(
        "no tool's result says 1, 2, 3, 4, 5, 6 and 3 more"
    )


@pytest.mark.parametrize(
    "text",
    [
        "a.md has 55.3% of the words, b.md 44.7 %",
        "It is 112 words shorter than 500.",
        "about 400 words, nearly 390, ~ 310",
        "**1.** a.md\n**2.** b.md\n**3.** c.md",
        "- 1. a.md\n- 2. b.md\n- 3. c.md",
        "| 1 | a.md |\n| 2 | b.md |\n| 3 | c.md |",
        "4️⃣ a.md [^5] [1\u20136] 【7】",
        "tasks 4, 5 and 6 are done at 10 pm, or 9 a.m. [task 3]",
        "```python\nfor i in range(10):\n    ...\n```",
        [{"rank": 1, "words": 388}, {"rank": 2, "words": 314}, {"rank": 3, "words": 388}],
    ],
)
def test_what_an_honest_answer_writes_is_no_doubt(text: Any) -> None:
    asked = ("Is it shorter than 500 words? Say which one.",)
    assert unsupported(text, Sources((COUNTED, OTHER), asked)) == ()


@pytest.mark.parametrize(
    ("text", "not_said"),
    [
        ("The counts are [388, 314, 999].", ("999",)),
        ("388,3,999", ("3", "999")),
        ("999.\n\nThat is all.", ("999",)),  # one line with a number is no list
        ("about 600, about 388.9", ("600", "388.9")),
        ("3.999 Wörter, 3 999 mots, 39,9 %", ("3.999", "3 999", "39,9")),
        ("389 words", ("389",)),
        ("9.2 million, 388 944", ("9.2", "388 944")),
    ],
)
def test_what_is_not_said_is_told_of_as_it_stands(text: str, not_said: tuple[str, ...]) -> None:
    asked = ("Which one is longer?",)  # "one" is no number to reckon with
    assert unsupported(text, Sources(({"a": 388}, {"a": 314}), asked)) == not_said


@pytest.mark.parametrize(
    ("result", "text"),
    [
        (
            {"n": 1204},
            "1,204; 1.204 Wörter; 1 204 mots; 1\u202f204; 1'204; 1.2 thousand",
        ),
        ({"n": 1234567}, "12,34,567 or 1.2 million, 1,23 Millionen"),
        ({"size": 12345}, "12.3 KB, or 12.1 KiB"),
        ({"share": 0.256}, "25.6 %, 25,6 %, 25.6 percent, 25.6 Prozent"),
        ("1.234,50 EUR und 1 204 Wörter", "1234.5 EUR, 1204"),
        ("a ship of twenty-one masts, a hundred years old", "21 masts, 100 years"),
        (["a.md has 388 words.", "b.md has 314 words [2]."], "702 words, 74 more"),
        ([{"n": 2}, {"n": 3}], "66.6% or 66.7%, 0.6666666666666666"),
        ([[{"n": 5}, {"n": 6}, {"n": 7}], "c is last"], "Of the 3, ..."),
    ],
)
def test_numbers_are_known_however_they_are_written(result: Any, text: str) -> None:
    assert unsupported(text, Sources((result,))) == ()


def test_wide_tables_and_long_names_do_not_keep_a_worker_busy() -> None:
    """What follows from them is bounded: of more, any number would follow."""
    table = [{f"c{n}": 1.5 + 40_000 * row + n for n in range(1_000)} for row in range(40)]
    wide = Sources((table,))
    assert wide.numbers < 40_000 + MOST_RECKONED + 3_000
    assert not Sources(({"n" * MOST_READ: 1},)).are_known


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=20,
)
WILD = st.text(alphabet=string.digits + ".,-%[] \nae/:", max_size=200)


@given(JSON, st.text(max_size=80) | WILD)
@example(None, "1E1")
def test_nothing_breaks_it(result: Any, text: str) -> None:
    """Of a text that is JSON the values are told, without exponents."""
    found = unsupported(text, Sources((result,)))
    assert all(one in text for one in found) or parsed(text) != text
    assert len(set(found)) == len(found)


@given(st.lists(st.integers(1, 10**12), min_size=1, max_size=6))
def test_every_number_of_a_result_and_their_sum_are_supported(numbers: list[int]) -> None:
    sources = Sources([{"n": number} for number in numbers])
    said = ", ".join(f"{number:,}" for number in numbers)
    assert unsupported(f"{' '.join(map(str, numbers))} | {said} | {sum(numbers)}", sources) == ()


@given(WILD)
@example("1e20")
@example("0 000,100")
@example("1,100,0")
@example("0,0,100")
@example("0[0]100,000")
def test_a_text_supports_itself(text: str) -> None:
    assert unsupported(text, Sources((text,))) == ()


def test_deep_and_huge_values_are_read() -> None:
    deep: Any = [17]
    for _ in range(40_000):
        deep = [deep]
    assert unsupported("17 or 18", Sources((deep,))) == ("18",)
    huge = Sources((10**5000, float(10**29), "9" * 5000))
    assert unsupported("9" * 40, huge) == ()  # a name
    assert unsupported(Decimal(5), Sources((5,))) == ()


@pytest.mark.parametrize("more", ["x" * MOST_READ, [0] * MOST_READ, ["7 "] * MOST_READ])
def test_where_there_is_more_than_can_be_read_nothing_is_said(more: Any) -> None:
    sources = Sources(({"n": 7}, more))
    assert not sources.are_known
    assert unsupported("8 or 9", sources) == ()
    assert unsupported("8 or 9", sources, ("9",)) == ("9",)
