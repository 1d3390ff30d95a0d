"""What others wrote is shown on this terminal, never obeyed."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galerne.cli.text import (
    clean,
    count_text,
    json_text,
    one_line,
    seconds_text,
    value_text,
)


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;new title\x07text", "text"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x9b2Jgone", "gone"),
        ("back\x08\x08\x08", "back"),
        ("over\rwritten", "overwritten"),
        ("two\r\nlines\n\tindented", "two\nlines\n\tindented"),
        ("\u202egnp.exe", "gnp.exe"),
        ("\x1b", ""),
        ("\x1b[", ""),
        ("lone \ud800 half", "lone ? half"),
        ("ordinary ✓ текст 文字 🙂", "ordinary ✓ текст 文字 🙂"),
    ],
)
def test_terminal_sequences_are_taken_out(hostile: str, shown: str) -> None:
    assert clean(hostile) == shown


@given(st.text(alphabet=st.characters(max_codepoint=0x2100)))
def test_nothing_that_a_terminal_obeys_survives(text: str) -> None:
    cleaned = clean(text)
    assert not any(ord(char) < 0x20 and char not in "\n\t" for char in cleaned)
    assert not any(0x7F <= ord(char) <= 0x9F for char in cleaned)
    assert clean(cleaned) == cleaned


@given(st.text(), st.integers(1, 50))
def test_one_line_is_one_line_and_not_too_long(text: str, limit: int) -> None:
    line = one_line(text, limit)
    assert len(line) <= limit
    assert len(line.splitlines()) <= 1


@given(st.recursive(st.none() | st.text() | st.integers(-(2**53), 2**53), st.lists))
def test_json_stays_the_same_value_and_tames_the_terminal(value: object) -> None:
    text = json_text(value)
    assert msgspec.json.decode(text) == value
    assert not any(0x7F <= ord(char) <= 0x9F or char == "\x1b" for char in text)


def test_json_does_not_turn_the_direction_of_writing() -> None:
    text = json_text("a\u202eb\u2066c")
    assert text.isascii()
    assert msgspec.json.decode(text) == "a\u202eb\u2066c"


def test_a_result_is_text_or_json() -> None:
    assert value_text("plain\x1b[1m") == "plain"
    assert value_text({"words": 3}) == '{\n  "words": 3\n}'


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""),
        (0.0, "0.0s"),
        (9.94, "9.9s"),
        (9.96, "10s"),
        (59.6, "1m00s"),
        (185.0, "3m05s"),
        (7620.0, "2h07m"),
    ],
)
def test_seconds(seconds: float | None, text: str) -> None:
    assert seconds_text(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, ""), (812, "812"), (9999, "9999"), (12_345, "12.3k"), (999_960, "1.0M")],
)
def test_counts(count: int, text: str) -> None:
    assert count_text(count) == text
