"""Clauses: writing one and reading it back is the same clause, whatever names it holds."""

import string

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galerne.models.standin.clauses import (
    COMPARISONS,
    UNITS,
    Adjust,
    Clause,
    Combine,
    Compare,
    Count,
    CountEach,
    ListFiles,
    Rank,
    ReadFile,
    Search,
    Unknown,
)
from galerne.models.standin.grammar import LONGEST_TEXT, read_clauses
from galerne.models.standin.phrasing import phrase

NAMES = st.text(
    st.characters(codec="utf-8", exclude_categories=["C", "Z"], exclude_characters='"`“”*'),
    min_size=1,
    max_size=20,
).map(lambda text: text.rstrip("/") or "x") | st.sampled_from(["my file.txt", "count", "of", "-1"])
PATTERNS = st.sampled_from(["*", "*.md", "a*b.txt", "docs *.md"])
UNIT_SETS = st.lists(st.sampled_from(UNITS), min_size=1, max_size=4, unique=True).map(tuple)
UNIT = st.none() | st.sampled_from(UNITS)
LINES = st.integers(1, 10**6)
CLAUSES = st.one_of(
    st.builds(Count, UNIT_SETS, NAMES),
    st.builds(CountEach, UNIT_SETS, NAMES, PATTERNS),
    st.builds(ListFiles, NAMES, PATTERNS),
    st.builds(Search, NAMES, NAMES, PATTERNS),
    st.builds(ReadFile, NAMES, st.just(1), st.none() | LINES),
    st.builds(ReadFile, NAMES, LINES, LINES),
    st.builds(Compare, st.sampled_from(sorted(COMPARISONS)), UNIT),
    st.builds(Combine, st.sampled_from(["total", "difference", "average"]), UNIT),
    st.builds(Rank, st.sampled_from(["most", "least"]), UNIT),
    st.builds(Adjust, st.sampled_from(["+", "-", "*", "/"]), st.sampled_from(["1", "-2", "0.5"])),
)


@given(CLAUSES)
def test_a_phrase_reads_back_as_its_clause(clause: Clause) -> None:
    assert read_clauses(phrase(clause)) == (clause,)


@given(st.text(string.printable, max_size=400))
def test_any_text_is_read_without_a_failure(text: str) -> None:
    for clause in read_clauses(text):
        assert isinstance(clause, msgspec.Struct)


@pytest.mark.parametrize("piece", ['"', "“", "'", "a.txt and ", "count ", "(", "*.md ", "\n", "1,"])
def test_hostile_text_is_read_in_linear_time(piece: str) -> None:
    assert isinstance(read_clauses(piece * (LONGEST_TEXT // len(piece))), tuple)


def test_a_text_that_is_too_long_is_not_read_at_all() -> None:
    goal = "count the words in a.txt. " * 1000
    assert read_clauses(goal) == (Unknown(goal[:200]),)
