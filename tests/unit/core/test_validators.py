"""Each named check: what it lets through, what not, and which names are refused."""

import pytest

from galerne.core.validators import NAMES, check_name, passes, wanted
from galerne.errors import InvalidInputError


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        ("json", '{"a": 1}', "a: 1"),
        ("number", "-1.5e3", "1,5"),
        ("number", "42", "42 words"),
        ("integer", "42", "42.0"),
        ("one-line", "one", "one\ntwo"),
        ("contains:a.txt", "in a.txt", "in b.txt"),
        ("regex:^[A-Z]{3}$", "ABC", "ABCD"),
        ("regex:a:b", "xa:by", "ab"),
    ],
)
def test_what_passes(check: str, good: str, bad: str) -> None:
    check_name(check)
    assert passes(check, good)
    assert not passes(check, bad)
    assert wanted(check)


def test_a_pattern_is_matched_in_linear_time() -> None:
    check_name("regex:^(a+)+$")
    assert not passes("regex:^(a+)+$", "a" * 50_000 + "b")


@pytest.mark.parametrize(
    ("check", "why"),
    [
        ("polite", "there is no check 'polite'; there are json, "),
        ("", "there is no check ''"),
        ("regex", "write the check 'regex' as regex:TEXT"),
        ("json:x", "write the check 'json' as json"),
        ("regex:(", "no usable JSON Schema"),
        ("regex:(?=a)", "no usable JSON Schema"),
        ("contains:" + "x" * 501, "at most 500 characters"),
    ],
)
def test_what_is_refused(check: str, why: str) -> None:
    with pytest.raises(InvalidInputError) as refusal:
        check_name(check)
    assert why in str(refusal.value)


def test_every_name_is_listed() -> None:
    assert NAMES == ("json", "number", "integer", "one-line", "contains:TEXT", "regex:TEXT")
