"""Strangers' words: one line, printable, encodable, bounded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galerne.core.printable import printable_line


@given(st.text(st.characters(), max_size=500), st.integers(1, 100))
def test_any_text_is_a_line_that_can_be_shown_and_sent(text: str, most: int) -> None:
    line = printable_line(text, most)
    assert len(line) <= most
    assert line.isprintable()
    assert line.encode().decode() == line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("as it is", "as it is"),
        ("two\nlines\t here ", "two lines here"),
        ("\x1b[2Jred\u202e", "[2Jred"),
        ("half \ud800 one", "half  one"),
        ("x" * 10, "x" * 10),
        ("x" * 11, "x" * 9 + "…"),
    ],
)
def test_what_becomes_of_a_text(text: str, line: str) -> None:
    assert printable_line(text, 10 if text[0] == "x" else 80) == line
