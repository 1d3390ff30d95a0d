"""What a tool says of its progress is shown to people: it is bounded, whatever it is."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galerne.core.progress import LONGEST_NOTE, bounded, shortened


@given(st.text(st.characters(), max_size=2_000))
def test_a_note_is_one_printable_line(note: str) -> None:
    said = shortened(note)
    assert len(said) <= LONGEST_NOTE
    assert said.isprintable()


@given(st.none() | st.floats())
def test_a_fraction_is_from_0_to_1_or_nothing(fraction: float | None) -> None:
    said = bounded(fraction)
    assert said is None or 0.0 <= said <= 1.0


@pytest.mark.parametrize(("said", "kept"), [(0.5, 0.5), (7, 1.0), (-1, 0.0), (math.nan, None)])
def test_a_fraction_that_is_one_stays(said: float, kept: float | None) -> None:
    assert bounded(said) == kept
